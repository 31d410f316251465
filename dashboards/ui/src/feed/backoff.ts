const FIRST_MS = 500;
const MOST_MS = 10_000;

/**
 * How long to wait before the attempt of this number (1 is the first after a loss), in milliseconds.
 *
 * Doubles from 0.5 s to 10 s; half of it is jitter, so that the pages of a restarted collector do not come at once.
 */
export function backoffMs(attempt: number, random: () => number = Math.random): number {
  const ceiling = Math.min(MOST_MS, FIRST_MS * 2 ** (attempt - 1));
  return ceiling / 2 + (random() * ceiling) / 2;
}

/** What a `Retry-After` header asks for, in milliseconds; only the form in seconds is used between us. */
export function retryAfterMs(header: string | null): number {
  return header && /^\d+$/.test(header) ? Math.min(Number(header) * 1000, 60_000) : 0;
}
