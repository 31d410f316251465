import type { Failure, Run, Step, StepStatus } from '../model';
import { hasEnded } from '../model';
import { AGAIN, END, NONE, OUT } from './layout';
import type { Match } from './match';
import { type Block, isStep, type Place, type Places } from './places';

/** What a run did at one place. */
export interface Mark {
  readonly status: StepStatus | 'idle';
  /** How often it ran; for a loop, how many rounds it has begun. */
  readonly count: number;
  readonly running: number;
  readonly failed: number;
  /** The highest try of the latest step. */
  readonly attempt: number;
  /** Of the latest step, from its start; null while it has none. */
  readonly startedMs: number | null;
  readonly endedMs: number | null;
  readonly error: Failure | null;
  readonly steps: readonly Step[];
}

export interface Overlay {
  readonly marks: ReadonlyMap<string, Mark>;
  /** Places and blocks that somebody has come to. */
  readonly reached: ReadonlySet<string>;
  /** What runs now, the outermost and the innermost. */
  readonly running: ReadonlySet<string>;
  /** Places and blocks that this run did not, or will not, come to. */
  readonly faded: ReadonlySet<string>;
  /** The place that is most worth looking at while the run moves. */
  readonly current: string;
  readonly matched: number;
}

const IDLE: Mark = { status: 'idle', count: 0, running: 0, failed: 0, attempt: 0, startedMs: null, endedMs: null, error: null, steps: [] };

export function markOf(overlay: Overlay | null, key: string): Mark {
  return overlay?.marks.get(key) ?? IDLE;
}

/** Put what a run did onto the places of its diagram. */
export function overlayOf(places: Places, match: Match, steps: readonly Step[], run: Pick<Run, 'status'> | null): Overlay {
  const atPlace = new Map<string, Step[]>();
  for (const step of steps) {
    const place = match.at.get(step.id);
    if (place) listAt(atPlace, place.key).push(step);
  }
  const over = run !== null && hasEnded(run.status);
  const state = new Walk(atPlace, over);
  state.block(places.root);
  for (const [key, list] of match.extraSteps) state.mark(key, list);
  const failed = run?.status === 'failed' || run?.status === 'terminated';
  if (over && !failed) state.reached.add(END);
  if (steps.length || run) state.reached.add('/');
  state.fade(places.root, over && !failed ? Number.POSITIVE_INFINITY : state.furthest, false);
  return { marks: state.marks, reached: state.reached, running: state.running, faded: state.faded, current: state.current, matched: match.at.size };
}

class Walk {
  readonly marks = new Map<string, Mark>();
  readonly reached = new Set<string>();
  readonly running = new Set<string>();
  readonly faded = new Set<string>();
  furthest = -1;
  current = '';
  #latest = Number.NEGATIVE_INFINITY;

  constructor(
    readonly atPlace: ReadonlyMap<string, readonly Step[]>,
    readonly over: boolean,
  ) {}

  mark(key: string, steps: readonly Step[]): void {
    const mark = markFrom(steps);
    this.marks.set(key, mark);
    this.reached.add(key);
    if (mark.running && !this.over) this.running.add(key);
  }

  block(block: Block): boolean {
    let any = false;
    let came = false;
    for (const place of block.places) {
      if (place.node.type === 'break' && came) this.reached.add(place.key);
      came = this.#place(place);
      any = came || any;
    }
    if (any) this.reached.add(block.key);
    return any;
  }

  #place(place: Place): boolean {
    const steps = this.atPlace.get(place.key);
    if (steps) this.#own(place, steps);
    let inside = false;
    for (const block of place.blocks) inside = this.block(block) || inside;
    if (!inside && !steps) return false;
    this.reached.add(place.key);
    if (!steps) this.#sum(place);
    const mark = this.marks.get(place.key);
    if (mark && !mark.running && mark.status !== 'failed') this.reached.add(place.key + OUT);
    if (mark && mark.count > 1 && place.node.type === 'loop') (mark.running && !this.over ? this.running : this.reached).add(place.key + AGAIN);
    return true;
  }

  #own(place: Place, steps: readonly Step[]): void {
    this.mark(place.key, steps);
    this.furthest = Math.max(this.furthest, place.index);
    const mark = this.marks.get(place.key);
    const started = mark?.startedMs ?? 0;
    if (mark && (mark.running || !this.running.size) && started >= this.#latest) {
      this.#latest = started;
      this.current = place.key;
    }
  }

  /** A construct's mark is that of what is in it. */
  #sum(place: Place): void {
    const inner = place.blocks.flatMap((block) => block.places).map((each) => this.marks.get(each.key)).filter((mark) => mark !== undefined);
    const running = inner.reduce((sum, mark) => sum + mark.running, 0);
    const count = place.node.type === 'loop' ? roundsOf(place, this.marks) : Math.max(1, ...inner.map((mark) => mark.count));
    const lastFailed = inner.some((mark) => mark.status === 'failed');
    this.marks.set(place.key, {
      ...IDLE,
      status: running && !this.over ? 'running' : lastFailed ? 'failed' : 'completed',
      count,
      running,
      failed: inner.reduce((sum, mark) => sum + mark.failed, 0),
    });
    if (running && !this.over) this.running.add(place.key);
  }

  /** What was passed by, or is out of reach now that the run is over. */
  fade(block: Block, passed: number, inParallel: boolean): void {
    for (const place of block.places) {
      const isFork = place.node.type === 'if' || place.node.type === 'switch';
      if (isFork && !inParallel && !this.reached.has(place.key) && Math.max(place.index, ...place.blocks.map(lastIndex)) < passed) this.#past(place);
      if (place.cut) this.#again(place);
      const beside = inParallel || place.node.type === 'parallel';
      const taken = place.blocks.some((each) => this.reached.has(each.key));
      for (const each of place.blocks) {
        const skipped = !this.reached.has(each.key) && each.places.length > 0 && lastIndex(each) < passed;
        if ((isFork && taken && !this.reached.has(each.key) && !place.loop) || (skipped && !(inParallel && !this.over))) this.#fadeAll(each);
        else this.fade(each, passed, beside);
      }
      if (!this.reached.has(place.key) && this.over) {
        this.faded.add(place.key);
        place.blocks.forEach((each) => this.#fadeAll(each));
      }
    }
  }

  /** A fork that the run has left behind without a step: by a branch that has none. */
  #past(place: Place): void {
    const empty = place.blocks.find((block) => !block.places.length);
    if (!empty && place.blocks.some((block) => !block.label)) return;
    this.reached.add(place.key);
    this.reached.add(empty?.key ?? place.key + NONE);
  }

  /** A function that calls itself ran again if what is in it ran twice. */
  #again(place: Place): void {
    let around = place.parent;
    while (around && !(around.node.type === 'function_call' && around.node.name === place.node.name)) around = around.parent;
    const mark = around && this.marks.get(around.key);
    if (!mark || mark.count < 2) return;
    this.reached.add(place.key);
    this.marks.set(place.key, { ...IDLE, status: mark.status === 'failed' ? 'failed' : 'completed', count: mark.count - 1 });
  }

  #fadeAll(block: Block): void {
    this.faded.add(block.key);
    for (const place of block.places) {
      this.faded.add(place.key);
      place.blocks.forEach((each) => this.#fadeAll(each));
    }
  }
}

function markFrom(steps: readonly Step[]): Mark {
  const ordered = [...steps].sort((a, b) => (a.started_ms ?? 0) - (b.started_ms ?? 0));
  const latest = ordered.at(-1);
  const running = steps.filter((step) => !hasEnded(step.status)).length;
  const failures = ordered.filter((step) => step.status === 'failed');
  const open = ordered.find((step) => !hasEnded(step.status));
  const shown = open ?? failures.at(-1) ?? latest;
  const waits = open?.status === 'waiting' || (open && /^(sleep|wait)/.test(open.kind));
  return {
    status: waits ? 'waiting' : (shown?.status ?? 'idle'),
    count: steps.length,
    running,
    failed: failures.length,
    attempt: shown?.attempt ?? 0,
    startedMs: (open ?? latest)?.started_ms ?? null,
    endedMs: open ? null : (latest?.ended_ms ?? null),
    error: failures.at(-1)?.error ?? lastError(shown),
    steps: ordered,
  };
}

function lastError(step: Step | undefined): Failure | null {
  return step?.error ?? step?.attempts.findLast((attempt) => attempt.error)?.error ?? null;
}

/**
 * How many rounds a loop has begun: as often as the step in it that ran most.
 *
 * A loop around a `try` tries the same step again, which is then one step of several attempts.
 */
function roundsOf(loop: Place, marks: ReadonlyMap<string, Mark>): number {
  let most = 0;
  const look = (block: Block, tries: boolean): void => {
    for (const place of block.places) {
      const { count = 0, steps = [] } = marks.get(place.key) ?? {};
      if (place.node.type === 'loop') most = Math.max(most, Math.min(count, 1));
      else if (!isStep(place.node)) place.blocks.forEach((each) => look(each, tries || place.node.type === 'try'));
      else most = Math.max(most, tries ? steps.reduce((sum, step) => sum + Math.max(1, step.attempt), 0) : count);
    }
  };
  for (const block of loop.blocks) look(block, false);
  return most;
}

function lastIndex(block: Block): number {
  const last = block.places.at(-1);
  if (!last) return -1;
  return Math.max(last.index, ...last.blocks.map(lastIndex));
}

function listAt(lists: Map<string, Step[]>, key: string): Step[] {
  const list = lists.get(key) ?? [];
  lists.set(key, list);
  return list;
}
