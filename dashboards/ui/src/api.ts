import { LOBBY, type RunPage } from './model';

/** An address of the collector, relative to where the page is served. */
export function address(path: string): string {
  return new URL(path, document.baseURI).href;
}

/** A run's own feed answers 404 for a run that nobody knows; the shared one would send a message. */
export function feedAddress(room: string): string {
  return address(room === LOBBY ? `api/v1/feed?room=${LOBBY}` : `api/v1/runs/${encodeURIComponent(room)}/feed`);
}

/** A page of history, newest first. Rejects with a message that can be shown. */
export async function fetchRuns(filter: { q: string; status: string; cursor: string | null }): Promise<RunPage> {
  const query = new URLSearchParams({ limit: '100' });
  if (filter.q) query.set('q', filter.q);
  if (filter.status) query.set('status', filter.status);
  if (filter.cursor) query.set('cursor', filter.cursor);
  const response = await fetch(address(`api/v1/runs?${query}`)).catch(() => null);
  if (!response) throw new Error('The collector cannot be reached.');
  if (!response.ok) throw new Error(`The collector answered ${response.status}.`);
  return (await response.json()) as RunPage;
}
