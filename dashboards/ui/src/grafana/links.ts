import { UIDS, type Variables } from './boards';

export type Board = keyof typeof UIDS;
export type Values<B extends Board> = { readonly [name in Variables[B]]?: string };

/** A range of time in Unix milliseconds; without an end it lasts until now. */
export interface Period {
  readonly from: number;
  readonly to: number | null;
}

/** The dashboards ask for whole seconds; what happens at the very edge is to be seen, too. */
const MARGIN_MS = 5_000;
const DAY_MS = 24 * 60 * 60 * 1_000;

/** The address of a dashboard; without a period it opens at its own range. `grafana` ends in a slash. */
export function boardAddress<B extends Board>(grafana: string, board: B, values: Values<B>, period: Period | null): string {
  const named = Object.entries<string | undefined>(values).map(([name, value]) => [`var-${name}`, value] as const);
  const range = period ? rangeOf(period) : [];
  const query = [...named, ...range].flatMap(([name, value]) => (value ? `${name}=${encodeURIComponent(value)}` : []));
  return `${grafana}d/${UIDS[board]}?${query.join('&')}`;
}

/** From the start of something to its end; null where nobody knows when it started. */
export function allOf(started: number | null, ended: number | null): Period | null {
  return started === null ? null : { from: started, to: ended };
}

/** The day up to the end of something, or all of it where it took longer: what else happened then. */
export function dayUntil(started: number | null, ended: number | null): Period | null {
  const until = ended ?? Date.now();
  return started === null ? null : { from: Math.min(started, until - DAY_MS), to: ended };
}

function rangeOf({ from, to }: Period): [string, string][] {
  return [
    ['from', String(Math.floor(from) - MARGIN_MS)],
    ['to', to === null ? 'now' : String(Math.ceil(to) + MARGIN_MS)],
  ];
}
