/** What part of time the timeline shows, in Unix milliseconds. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

export interface Tick {
  readonly at: number;
  readonly label: string;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const TICK_STEPS = [
  ...[0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((n) => n * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
  ...[1, 2, 3, 6, 12].map((n) => n * HOUR),
  ...[1, 2, 5, 10, 20, 50, 100, 200].map((n) => n * DAY),
];
/** A closer look than a tenth of a millisecond is noise of the sender's clock. */
const LEAST_MS = 0.5;

/** Where a moment lies in the span, in percent; not limited to 0–100. */
export function percent(span: Span, at: number): number {
  return ((at - span.from) / (span.to - span.from)) * 100;
}

/** Round moments after `origin`, at least `pixels` apart on an axis of this width. */
export function ticks(span: Span, origin: number, width: number, pixels = 88): Tick[] {
  const length = span.to - span.from;
  const wanted = length / Math.max(1, Math.floor(width / pixels));
  const step = TICK_STEPS.find((each) => each >= wanted) ?? 500 * DAY;
  const found: Tick[] = [];
  for (let n = Math.ceil((span.from - origin) / step); origin + n * step <= span.to; n += 1) {
    found.push({ at: origin + n * step, label: offset(n * step, step) });
  }
  return found;
}

/** Time since the start, no finer than the ticks are apart: `0`, `250ms`, `1.5s`, `2m 30s`, `1h 15m`, `3d`. */
export function offset(ms: number, step: number): string {
  if (Math.abs(ms) < 1e-9) return '0';
  if (ms < 0) return `−${offset(-ms, step)}`;
  if (ms < SECOND) return `${trim(ms)}ms`;
  if (ms < MINUTE) return `${trim(ms / SECOND)}s`;
  if (ms < HOUR) return pair(ms, MINUTE, 'm', SECOND, 's');
  return ms < DAY ? pair(ms, HOUR, 'h', MINUTE, 'm') : pair(ms, DAY, 'd', HOUR, 'h');
}

/** The span `factor` times as long, with the moment at `anchor` (0–1 of the width) staying in place, inside `whole`. */
export function zoom(span: Span, factor: number, anchor: number, whole: Span): Span {
  const length = Math.min(whole.to - whole.from, Math.max(LEAST_MS, (span.to - span.from) * factor));
  const pinned = span.from + (span.to - span.from) * anchor;
  return within({ from: pinned - length * anchor, to: pinned + length * (1 - anchor) }, whole);
}

export function pan(span: Span, ms: number, whole: Span): Span {
  return within({ from: span.from + ms, to: span.to + ms }, whole);
}

function within(span: Span, whole: Span): Span {
  const shift = Math.max(0, whole.from - span.from) - Math.max(0, span.to - whole.to);
  return { from: span.from + shift, to: span.to + shift };
}

function pair(ms: number, large: number, largeUnit: string, small: number, smallUnit: string): string {
  const rest = trim((ms % large) / small);
  const whole = `${Math.floor(ms / large)}${largeUnit}`;
  return rest === '0' ? whole : `${whole} ${rest}${smallUnit}`;
}

function trim(value: number): string {
  return String(Number(value.toFixed(3)));
}
