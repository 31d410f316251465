const FINE_MS = 100;
/** The server's date has a resolution of a second; below this it says nothing about our clock. */
const TRUSTED_SKEW_MS = 2_000;

/** The one clock of the page: no row has a timer of its own. */
class Clock {
  /** Moves every second. */
  second = $state(Date.now());
  /** Moves ten times a second while somebody watches something grow; every second where motion is unwelcome. */
  fine = $state(Date.now());

  /** This browser's own time, every second, also while the collector's is held. */
  beat = $state(Date.now());

  #skewMs = 0;
  #heldAt: number | null = null;
  #watchers = 0;
  #frame = 0;

  constructor() {
    setInterval(() => this.#tick(), 1_000);
  }

  /** The collector's time: running bars must not depend on how this browser's clock is set. */
  now(): number {
    return this.#heldAt ?? Date.now() + this.#skewMs;
  }

  /** Stop, or go on: what runs must not seem to go on while nobody tells whether it does. */
  hold(held: boolean): void {
    if (!held) this.#heldAt = null;
    else this.#heldAt ??= this.now();
  }

  /** Learn the collector's clock from the `Date` header of an answer that has just arrived. */
  learn(date: string | null): void {
    const skew = Date.parse(date ?? '') - Date.now();
    if (!Number.isNaN(skew)) this.#skewMs = Math.abs(skew) > TRUSTED_SKEW_MS ? skew : 0;
  }

  /** Keep `fine` moving until the returned function is called. */
  watch(): () => void {
    this.#watchers += 1;
    if (this.#watchers === 1) this.#frame = requestAnimationFrame(this.#draw);
    return () => {
      this.#watchers -= 1;
      if (this.#watchers === 0) cancelAnimationFrame(this.#frame);
    };
  }

  #tick(): void {
    this.beat = Date.now();
    this.second = this.now();
    this.fine = this.second;
  }

  #draw = (): void => {
    const now = this.now();
    if (now - this.fine >= FINE_MS && !matchMedia('(prefers-reduced-motion: reduce)').matches) this.fine = now;
    this.#frame = requestAnimationFrame(this.#draw);
  };
}

export const clock = new Clock();
