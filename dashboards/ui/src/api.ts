import type { RunPage } from './model';

/** An address of the collector, relative to where the page is served. */
export function address(path: string): string {
  return new URL(path, document.baseURI).href;
}

export function feedAddress(rooms: readonly string[]): string {
  const query = new URLSearchParams(rooms.map((room) => ['room', room]));
  return address(`api/v1/feed?${query}`);
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
