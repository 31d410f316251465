import { type FeedData, hasEnded, type LogLine, type Run } from '../model';
import { clock } from './clock.svelte';
import { Frames } from './frames';
import { StepTree } from './tree';

/** How many log lines the page keeps; history has the rest. */
export const MOST_LOGS = 20_000;

/**
 * One run as the feed tells it.
 *
 * What arrives is put into plain maps at once; the counters below are all that is reactive, and move once per frame.
 */
export class RunRoom {
  /** Moves with anything. */
  version = $state(0);
  /** Moves when rows of the step tree come, go or move. */
  shape = $state(0);
  loaded = $state(false);
  run: Run | null = $state.raw(null);
  truncated = $state.raw({ steps: 0, logs: 0 });

  tree = new StepTree();
  logs: LogLine[] = [];
  /** Log lines that this page has let go. */
  forgotten = 0;

  #run: Run | null = null;
  #shaped = false;
  readonly #frames = new Frames(() => this.#show());

  constructor(readonly id: string) {}

  take(type: string, data: FeedData): void {
    if (data.room !== this.id) return;
    if (type === 'snapshot') this.#replace(data);
    else if (type !== 'reset') this.#change(data);
    this.#frames.request();
  }

  complete(): boolean {
    return this.#run !== null && hasEnded(this.#run.status);
  }

  close(): void {
    this.#frames.cancel();
  }

  #replace(data: FeedData): void {
    this.tree = new StepTree();
    for (const step of data.steps ?? []) this.tree.put(step);
    this.logs = [...(data.logs ?? [])];
    this.forgotten = 0;
    this.truncated = data.truncated ?? { steps: 0, logs: 0 };
    this.#run = data.run ?? null;
    this.#shaped = true;
  }

  #change(data: FeedData): void {
    if (data.run) this.#run = { ...data.run, heard_ms: clock.now() };
    if (data.step && this.tree.put(data.step)) this.#shaped = true;
    if (data.log) this.#log(data.log);
  }

  #log(line: LogLine): void {
    this.logs.push(line);
    // In blocks: cutting one line off twenty thousand for each new one would cost more than drawing.
    if (this.logs.length <= MOST_LOGS * 1.1) return;
    const surplus = this.logs.length - MOST_LOGS;
    this.logs.splice(0, surplus);
    this.forgotten += surplus;
  }

  #show(): void {
    this.run = this.#run;
    this.loaded = this.#run !== null;
    this.version += 1;
    if (this.#shaped) this.shape += 1;
    this.#shaped = false;
  }
}
