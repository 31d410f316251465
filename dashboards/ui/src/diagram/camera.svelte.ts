/** What part of a drawing is seen: moved by hand, by keys, or after what runs. */
const LEAST = 0.05;
const MOST = 2.5;
/** Smaller than this, names cannot be read: the rest is found by moving. */
const READABLE = 0.74;
const STILL_READABLE = 0.5;
const NARROW = 600;

export interface Size {
  readonly width: number;
  readonly height: number;
}

export class Camera {
  x = $state(0);
  y = $state(0);
  scale = $state(1);
  /** Whether a move is drawn as one, rather than followed by hand. */
  gliding = $state(false);
  /** Whether the user has taken it; then nothing moves by itself. */
  held = $state(false);
  /** Whether the pointer that is down has moved the drawing, so that letting go chooses nothing. */
  dragged = false;

  /** Show all of a drawing, or as much of it around its axis as can be read. */
  fit(drawing: Size & { readonly axis: number }, window: Size, whole = false): void {
    if (!drawing.width || !window.width) return;
    const wide = Math.min(1, window.width / drawing.width);
    const readable = window.width < NARROW ? READABLE : Math.min(READABLE, Math.max(wide, STILL_READABLE));
    this.scale = Math.max(Math.min(wide, window.height / drawing.height), whole ? LEAST : readable);
    const fits = drawing.width * this.scale <= window.width;
    this.x = fits ? (window.width - drawing.width * this.scale) / 2 : window.width / 2 - drawing.axis * this.scale;
    const height = drawing.height * this.scale;
    this.y = height <= window.height ? (window.height - height) / 2 : 0;
  }

  zoom(factor: number, x: number, y: number): void {
    const scale = Math.min(MOST, Math.max(LEAST, this.scale * factor));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.held = true;
    this.gliding = false;
  }

  pan(dx: number, dy: number): void {
    this.x += dx;
    this.y += dy;
    this.held = true;
    this.gliding = false;
  }

  /** Bring a box into view, if it is not there already; return whether it moved. */
  reveal(box: Size & { readonly x: number; readonly y: number }, window: Size, margin = 72): boolean {
    const left = box.x * this.scale + this.x;
    const top = box.y * this.scale + this.y;
    const right = left + box.width * this.scale;
    const bottom = top + box.height * this.scale;
    const dx = shift(left, right, window.width, Math.min(margin, window.width / 6));
    const dy = shift(top, bottom, window.height, Math.min(margin, window.height / 4));
    if (!dx && !dy) return false;
    this.gliding = true;
    this.x += dx;
    this.y += dy;
    return true;
  }
}

function shift(from: number, to: number, size: number, margin: number): number {
  if (from >= margin && to <= size - margin) return 0;
  if (from < 0 || to > size) return size / 2 - (from + to) / 2;
  return from < margin ? margin - from : size - margin - to;
}
