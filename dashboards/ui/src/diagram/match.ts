import type { Step } from '../model';
import type { Extra } from './layout';
import { isStep, type Place, type Places } from './places';

/** Which step of a run ran at which place of the diagram, and which ran at none. */
export interface Match {
  readonly at: ReadonlyMap<string, Place>;
  /** The steps that the code does not show, by the key of the place that they ran in; '' at the top. */
  readonly extras: ReadonlyMap<string, readonly Extra[]>;
  readonly extraSteps: ReadonlyMap<string, readonly Step[]>;
}

const NOWHERE = '';
const HOLE = '${...}';
const DYNAMIC = '<dynamic>';
/** More boxes of what is not in the code say nothing more. */
const MOST_EXTRAS = 24;

/**
 * Find the place of every step.
 *
 * A step belongs below the place of the step around it, among the places of its name, or of a template that makes its
 * name. Where several are left, the order decides: the next one in the code that was not used yet, else the next one of
 * a loop, which begins its next round.
 */
export function matchSteps(places: Places, steps: readonly Step[]): Match {
  const matcher = new Matcher(places);
  matcher.match(steps);
  return matcher;
}

interface Candidate {
  readonly place: Place;
  readonly pattern: RegExp | null;
  /** A better fit has fewer letters left to chance. */
  readonly loose: number;
}

class Matcher implements Match {
  readonly at = new Map<string, Place>();
  readonly extras = new Map<string, Extra[]>();
  readonly extraSteps = new Map<string, Step[]>();
  readonly #below = new Map<string, Candidate[]>();
  readonly #fits = new Map<string, readonly Place[]>();
  readonly #used = new Set<string>();

  constructor(places: Places) {
    for (const place of places.all) {
      if (!isStep(place.node) && !place.child) continue;
      const key = place.step?.key ?? NOWHERE;
      const found = this.#below.get(key) ?? [];
      found.push(candidate(place));
      this.#below.set(key, found);
    }
  }

  match(steps: readonly Step[]): void {
    const children = new Map<string, Step[]>();
    const known = new Set(steps.map((step) => step.id));
    for (const step of steps) {
      const under = known.has(step.parent_id) && step.parent_id !== step.id ? step.parent_id : NOWHERE;
      const group = children.get(under) ?? [];
      group.push(step);
      children.set(under, group);
    }
    const waiting: { readonly parent: string; readonly place: string }[] = [{ parent: NOWHERE, place: NOWHERE }];
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const group = (children.get(next.parent) ?? []).sort(byStart);
      children.delete(next.parent);
      this.#settle(group, next.place);
      for (const step of group) {
        if (children.has(step.id)) waiting.push({ parent: step.id, place: this.at.get(step.id)?.key ?? next.place });
      }
    }
  }

  /** Put the steps of one parent to their places. */
  #settle(group: readonly Step[], under: string): void {
    let before = -1;
    for (const step of group) {
      const place = this.#choose(this.#fitting(step.name, under), before);
      if (place) {
        this.at.set(step.id, place);
        this.#used.add(place.key);
        before = place.index;
      } else this.#extra(step, under);
    }
  }

  /** Of several places of one name: the next unused one, else the next round of a loop. */
  #choose(found: readonly Place[], before: number): Place | null {
    if (found.length < 2) return found[0] ?? null;
    const unused = found.filter((place) => !this.#used.has(place.key));
    const next = unused.find((place) => place.index > before);
    if (next) return next;
    const again = found.filter((place) => place.loop);
    return again.find((place) => place.index > before) ?? again[0] ?? unused[0] ?? found.at(-1) ?? null;
  }

  #fitting(name: string, under: string): readonly Place[] {
    const key = `${under}\n${name}`;
    const known = this.#fits.get(key);
    if (known) return known;
    const candidates = this.#below.get(under) ?? [];
    const fitting = candidates.filter((each) => (each.pattern ? each.pattern.test(name) : nameOf(each.place) === name));
    const tightest = Math.min(...fitting.map((each) => each.loose));
    const found = fitting.filter((each) => each.loose === tightest).map((each) => each.place);
    this.#fits.set(key, found);
    return found;
  }

  #extra(step: Step, under: string): void {
    const key = `${under}/+${step.name}`;
    const steps = this.extraSteps.get(key) ?? [];
    if (!steps.length) {
      const found = this.extras.get(under) ?? [];
      if (found.length >= MOST_EXTRAS) return;
      found.push({ key, name: step.name || 'unnamed' });
      this.extras.set(under, found);
    }
    steps.push(step);
    this.extraSteps.set(key, steps);
  }
}

function candidate(place: Place): Candidate {
  const name = nameOf(place);
  if (name === DYNAMIC) return { place, pattern: /^/, loose: Number.MAX_SAFE_INTEGER };
  const parts = name.split(HOLE);
  if (parts.length === 1) return { place, pattern: null, loose: 0 };
  const pattern = new RegExp(`^${parts.map(escaped).join('[^]*?')}$`);
  return { place, pattern, loose: 1_000_000 - parts.join('').length };
}

function nameOf(place: Place): string {
  return place.child || (place.node.name ?? '');
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

function byStart(a: Step, b: Step): number {
  return (a.started_ms ?? Number.POSITIVE_INFINITY) - (b.started_ms ?? Number.POSITIVE_INFINITY);
}
