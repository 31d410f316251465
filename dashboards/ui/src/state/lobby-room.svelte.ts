import { type FeedData, LOBBY, type Run, type RunPage } from '../model';
import { clock } from './clock.svelte';
import { Frames } from './frames';

/** The list of runs: those the collector keeps live, and older ones fetched from history. */
export class LobbyRoom {
  runs: readonly Run[] = $state.raw([]);
  loaded = $state(false);
  /** Whether all runs of history are known to be in the list; null where history has not been asked. */
  whole: boolean | null = $state(null);

  #heard = false;
  readonly #live = new Map<string, Run>();
  readonly #older = new Map<string, Run>();
  readonly #frames = new Frames(() => this.#show());

  take(type: string, data: FeedData): void {
    if (data.room !== LOBBY) return;
    if (type === 'snapshot') this.#replace(data.runs ?? []);
    else if (type === 'gone' && data.run_id) this.#letGo(data.run_id);
    else if (data.run) this.#live.set(data.run.id, { ...data.run, heard_ms: clock.now() });
    this.#frames.request();
  }

  /** Add a page of history. What the feed says of a run is newer and wins. */
  addOlder(page: RunPage): void {
    for (const run of page.runs) this.#older.set(run.id, run);
    this.#frames.request();
  }

  /** Look whether the first page of history is its last, and has no run that the list has not; null: it could not be had. */
  compare(page: RunPage | null): void {
    this.whole = page?.next_cursor === null && page.runs.every((run) => this.#live.has(run.id) || this.#older.has(run.id));
  }

  close(): void {
    this.#frames.cancel();
  }

  #replace(runs: readonly Run[]): void {
    this.#live.clear();
    for (const run of runs) this.#live.set(run.id, run);
    this.#heard = true;
    this.whole = null;
  }

  /** Out of the collector's memory; whoever has looked further back than that keeps it in the list. */
  #letGo(id: string): void {
    const run = this.#live.get(id);
    this.#live.delete(id);
    if (run && this.#older.size) this.#older.set(id, run);
    else this.whole = false;
  }

  #show(): void {
    this.loaded = this.#heard;
    this.runs = [...new Map([...this.#older, ...this.#live]).values()].sort(newestFirst);
  }
}

function newestFirst(one: Run, other: Run): number {
  return (other.started_ms ?? other.last_event_ms ?? 0) - (one.started_ms ?? one.last_event_ms ?? 0);
}
