import { untrack } from 'svelte';
import { hasEnded, type Run, type Step } from '../model';
import { clock } from '../state/clock.svelte';
import type { RunRoom } from '../state/run-room.svelte';
import { layoutOf } from './layout';
import { fetchDiagram, fetchSource } from './load';
import { matchSteps } from './match';
import type { DiagramAnswer, SourceAnswer } from './model';
import { overlayOf } from './overlay';
import { type Place, placesOf } from './places';
import { runAt, spanOf, stepsAt } from './replay';

/** While the code of a run that has just begun may be on its way. */
const RETRY_MS = [400, 800, 1_500, 3_000, 5_000, 5_000];

/** The diagram of one run: what was drawn from its code, what the run did in it, and what the user looks at. */
export class DiagramView {
  answer: DiagramAnswer | null = $state.raw(null);
  problem = $state('');
  source: SourceAnswer | null = $state.raw(null);
  collapsed: ReadonlySet<string> = $state.raw(new Set());
  /** The place, or the step that is not in the code, that was chosen. */
  chosen = $state('');
  /** The moment that is shown of a run that is over; null for its end. */
  moment: number | null = $state(null);
  playing = $state(false);
  speed: 1 | 10 = $state(1);

  #tries = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #frame = 0;
  #closed = false;
  #asked = '';

  constructor(readonly room: RunRoom) {}

  readonly live = $derived.by(() => this.room.run !== null && !hasEnded(this.room.run.status));
  readonly places = $derived(this.answer?.graph ? placesOf(this.answer.graph) : null);
  readonly all: readonly Step[] = $derived.by(() => {
    void this.room.version;
    return [...this.room.tree.values()];
  });
  readonly span = $derived.by(() => (this.room.run ? spanOf(this.room.run, this.all) : { from: 0, to: 1 }));
  readonly steps = $derived(this.moment === null ? this.all : stepsAt(this.all, this.moment));
  readonly run: Run | null = $derived.by(() => (this.room.run && this.moment !== null ? runAt(this.room.run, this.moment) : this.room.run));
  readonly match = $derived(this.places ? matchSteps(this.places, this.steps) : null);
  /** All that will ever be beside the code, so that the drawing stands still while a run is played again. */
  readonly extras = $derived(this.places && this.moment !== null ? matchSteps(this.places, this.all).extras : (this.match?.extras ?? new Map()));
  readonly #shape = $derived(JSON.stringify([...this.extras].map(([key, list]) => [key, list.length])));
  readonly layout = $derived.by(() => {
    void this.#shape;
    return this.places && layoutOf(this.places, this.collapsed, untrack(() => this.extras));
  });
  readonly overlay = $derived(this.places && this.match ? overlayOf(this.places, this.match, this.steps, this.run) : null);
  readonly now = $derived(this.moment ?? (this.live ? clock.fine : this.span.to));
  readonly place: Place | null = $derived(this.places?.byKey.get(this.chosen) ?? null);

  async load(): Promise<void> {
    const workflow = this.room.run?.workflow;
    if (!workflow || this.#closed) return;
    clearTimeout(this.#timer);
    try {
      this.answer = await fetchDiagram(workflow, this.room.id);
      this.problem = '';
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
    }
    const unsettled = this.problem || !this.answer?.graph || (!this.answer.exact && this.live);
    if (unsettled && this.answer?.state !== 'failed' && !this.#closed) this.#later();
  }

  /** Look again by the user's wish, from the beginning. */
  retry(): void {
    this.#tries = 0;
    void this.load();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    cancelAnimationFrame(this.#frame);
  }

  async loadSource(): Promise<void> {
    const answer = this.answer;
    if (!answer?.version || this.#asked === answer.version) return;
    this.#asked = answer.version;
    this.source = await fetchSource(answer.workflow, answer.version).catch(() => null);
  }

  toggle(key: string): void {
    const next = new Set(this.collapsed);
    if (!next.delete(key)) next.add(key);
    this.collapsed = next;
  }

  collapseAll(): void {
    const places = this.places?.all ?? [];
    this.collapsed = new Set(places.filter((place) => place.blocks.length && !place.parent).map((place) => place.key));
  }

  expandAll(): void {
    this.collapsed = new Set();
  }

  play(): void {
    if (this.playing) return this.pause();
    if (this.moment === null || this.moment >= this.span.to) this.moment = this.span.from;
    this.playing = true;
    let before = performance.now();
    const move = (time: number) => {
      if (!this.playing) return;
      const next = (this.moment ?? this.span.from) + (time - before) * this.speed;
      before = time;
      if (next >= this.span.to) return this.stop();
      this.moment = next;
      this.#frame = requestAnimationFrame(move);
    };
    this.#frame = requestAnimationFrame(move);
  }

  pause(): void {
    this.playing = false;
    cancelAnimationFrame(this.#frame);
  }

  /** Back to the run as it is. */
  stop(): void {
    this.pause();
    this.moment = null;
  }

  #later(): void {
    const wait = RETRY_MS[this.#tries];
    this.#tries += 1;
    if (wait !== undefined) this.#timer = setTimeout(() => void this.load(), wait);
  }
}
