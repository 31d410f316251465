import type { Progress } from '../model';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const clockFormat = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
  hourCycle: 'h23',
});
const dateFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const dayFormat = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' });
const countFormat = new Intl.NumberFormat();

/** A length of time, as precise as it is short: `0.4ms 87ms 4.21s 42.1s 3m 04s 2h 05m 3d 4h`. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return '';
  const positive = Math.max(0, ms);
  if (positive < 1) return positive === 0 ? '0ms' : `${positive.toFixed(1)}ms`;
  if (positive < 999.5) return `${Math.round(positive)}ms`;
  if (positive < 9.995 * SECOND) return `${(positive / SECOND).toFixed(2)}s`;
  if (positive < 59.95 * SECOND) return `${(positive / SECOND).toFixed(1)}s`;
  return longDuration(Math.round(positive / SECOND));
}

/** For what still runs: whole seconds from ten seconds on, so that the digits stand still in between. */
export function runningDuration(ms: number): string {
  const positive = Math.max(0, ms);
  if (positive < 10 * SECOND) return `${(Math.floor(positive / 100) / 10).toFixed(1)}s`;
  return positive < MINUTE ? `${Math.floor(positive / SECOND)}s` : longDuration(Math.floor(positive / SECOND));
}

function longDuration(seconds: number): string {
  const ms = seconds * SECOND;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)}m ${two(seconds % 60)}s`;
  if (ms < DAY) return `${Math.floor(ms / HOUR)}h ${two(Math.floor((ms % HOUR) / MINUTE))}m`;
  return `${Math.floor(ms / DAY)}d ${Math.floor((ms % DAY) / HOUR)}h`;
}

/** How long ago: `just now`, `12s ago`, `5m ago`, `3h ago`, `2d ago`, then the day. */
export function ago(ms: number, now: number): string {
  const past = now - ms;
  if (past < 5 * SECOND) return 'just now';
  if (past < MINUTE) return `${Math.floor(past / SECOND)}s ago`;
  if (past < HOUR) return `${Math.floor(past / MINUTE)}m ago`;
  if (past < DAY) return `${Math.floor(past / HOUR)}h ago`;
  return past < 7 * DAY ? `${Math.floor(past / DAY)}d ago` : dayFormat.format(ms);
}

export function dateTime(ms: number): string {
  return dateFormat.format(ms);
}

export function clockTime(ms: number): string {
  return clockFormat.format(ms);
}

export function count(value: number): string {
  return countFormat.format(value);
}

/** The start of a random id: enough to tell runs apart by eye; copying gives all of it. Chosen names stay readable. */
export function shortId(id: string): string {
  if (/^[0-9a-f-]{16,}$/i.test(id)) return id.slice(0, 8);
  return id.length > 24 ? `${id.slice(0, 23)}…` : id;
}

/** How far it has come: `3 / 8 creating workspace`. */
export function progressText({ current, total, message }: Progress): string {
  const numbers = [current, total].filter((each) => each !== null).map(count);
  return [numbers.join(' / '), message].filter(Boolean).join(' ');
}

/** An attribute's value as text: strings as they are, the rest as JSON. */
export function attributeText(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}

export function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}
