import { hasEnded } from '../model';
import { clock } from '../state/clock.svelte';
import type { RunRoom } from '../state/run-room.svelte';
import type { Row } from '../state/tree';
import { pan, type Span, zoom } from '../view/scale';
import { goneOnUntil, heardOf, isSilent } from '../view/silence';

/** An axis of no length cannot be drawn on. */
const LEAST_SPAN_MS = 1;
/** Room at the right of what runs, so that its edge is seen to move. */
const AHEAD = 1.04;

/** What of a run its timeline shows: which rows are unfolded, which part of time, and which row is chosen. */
export class TimelineView {
  collapsed: ReadonlySet<string> = $state.raw(new Set());
  /** Keep the running edge, and the newest row, in view. */
  follow = $state(false);
  #zoomed: Span | null = $state.raw(null);

  constructor(readonly room: RunRoom) {}

  readonly running = $derived.by(() => this.room.run !== null && !hasEnded(this.room.run.status));
  /** When the run was last heard of, where that is a while ago; null as long as all is well. */
  readonly silentSince = $derived.by(() => {
    const run = this.room.run;
    return run && isSilent(run, clock.second) ? heardOf(run) : null;
  });
  /** Until when what has not ended is drawn: now, where the page gave up a silent run, or the end of the run. */
  readonly now = $derived.by(() => {
    void this.room.version;
    const run = this.room.run;
    return run && this.running ? goneOnUntil(run, clock.fine) : (run?.ended_ms ?? endOf(this.room));
  });
  readonly rows: readonly Row[] = $derived.by(() => {
    void this.room.shape;
    return this.room.tree.rows(this.collapsed);
  });
  /** How many steps there are, shown or folded away. */
  readonly total = $derived.by(() => {
    void this.room.shape;
    return this.room.tree.size;
  });
  readonly origin = $derived.by(() => {
    void this.room.shape;
    return startOf(this.room);
  });
  /** All of the run. While it runs, the end moves with the clock. */
  readonly whole: Span = $derived.by(() => {
    void this.room.version;
    const from = this.origin;
    const end = this.running ? Math.max(this.now, endOf(this.room)) : endOf(this.room);
    const length = Math.max(LEAST_SPAN_MS, end - from);
    return { from, to: from + length * (this.running ? AHEAD : 1.005) };
  });
  readonly span: Span = $derived.by(() => {
    if (!this.#zoomed) return this.whole;
    if (!this.follow || !this.running) return this.#zoomed;
    return pan(this.#zoomed, this.whole.to - this.#zoomed.to, this.whole);
  });
  get zoomed(): boolean {
    return this.#zoomed !== null;
  }

  toggle(id: string): void {
    const next = new Set(this.collapsed);
    if (!next.delete(id)) next.add(id);
    this.collapsed = next;
  }

  collapseAll(): void {
    this.collapsed = new Set(this.room.tree.parents());
  }

  expandAll(): void {
    this.collapsed = new Set();
  }

  /** Unfold what hides the step; returns its row's index, -1 where there is none. */
  uncover(id: string): number {
    const around = this.room.tree.ancestors(id).filter((each) => this.collapsed.has(each));
    if (around.length) {
      const next = new Set(this.collapsed);
      for (const each of around) next.delete(each);
      this.collapsed = next;
    }
    return this.rows.findIndex((row) => row.id === id);
  }

  fit(): void {
    this.#zoomed = null;
  }

  /** Shorten (factor below 1) or lengthen the span around a place on the track, 0 at its left, 1 at its right. */
  zoom(factor: number, anchor = 0.5): void {
    const next = zoom(this.span, factor, anchor, this.whole);
    const all = next.to - next.from >= (this.whole.to - this.whole.from) * 0.999;
    this.#zoomed = all ? null : next;
  }

  /** Move the span by a share of its length. */
  pan(share: number): void {
    if (!this.#zoomed) return;
    const span = this.span;
    this.follow = false;
    this.#zoomed = pan(span, (span.to - span.from) * share, this.whole);
  }
}

function startOf(room: RunRoom): number {
  let start = room.run?.started_ms ?? Number.POSITIVE_INFINITY;
  for (const step of room.tree.values()) start = Math.min(start, step.started_ms ?? start);
  return Number.isFinite(start) ? start : clock.now();
}

function endOf(room: RunRoom): number {
  let end = room.run?.ended_ms ?? room.run?.last_event_ms ?? 0;
  for (const step of room.tree.values()) end = Math.max(end, step.ended_ms ?? step.started_ms ?? 0);
  return end;
}
