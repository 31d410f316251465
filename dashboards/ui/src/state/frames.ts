/**
 * Calls `show` at most once per animation frame, however often it is asked: a thousand messages in a second are
 * taken in one by one, and drawn sixty times. A hidden tab gets no frames and draws every second instead.
 */
export class Frames {
  #frame = 0;
  #timer = 0;

  constructor(readonly show: () => void) {}

  request(): void {
    if (this.#frame || this.#timer) return;
    if (document.hidden) this.#timer = window.setTimeout(this.#run, 1_000);
    else this.#frame = requestAnimationFrame(this.#run);
  }

  cancel(): void {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.#frame = this.#timer = 0;
  }

  #run = (): void => {
    this.cancel();
    this.show();
  };
}
