import type { Step } from '../model';

interface Node {
  readonly id: string;
  /** The step it hangs under now; '' at the top, also while its parent is not known. */
  under: string;
  readonly children: string[];
  startedMs: number;
}

export interface Row {
  readonly id: string;
  readonly level: number;
  readonly children: number;
  readonly position: number;
  readonly siblings: number;
}

const TOP = '';

/**
 * The steps of one run as a tree, each level in order of start, kept in order as steps come and change.
 *
 * Putting a step in costs a binary search among its siblings; nothing is ever sorted again as a whole. A step whose
 * parent is unknown stands at the top until the parent comes. A circle of parents is cut where it would close.
 */
export class StepTree {
  readonly #steps = new Map<string, Step>();
  readonly #nodes = new Map<string, Node>([[TOP, node(TOP, 0)]]);
  readonly #orphans = new Map<string, Set<string>>();

  get size(): number {
    return this.#steps.size;
  }

  get(id: string): Step | undefined {
    return this.#steps.get(id);
  }

  values(): IterableIterator<Step> {
    return this.#steps.values();
  }

  /** Add the step, or replace the one of the same id. Returns whether rows came, went or moved. */
  put(step: Step): boolean {
    const before = this.#steps.get(step.id);
    this.#steps.set(step.id, step);
    const startedMs = step.started_ms ?? Number.POSITIVE_INFINITY;
    const known = this.#nodes.get(step.id);
    if (known && before?.parent_id === step.parent_id && known.startedMs === startedMs) return false;
    if (known) this.#detach(known, before?.parent_id ?? TOP);
    const placed = known ?? node(step.id, startedMs);
    placed.startedMs = startedMs;
    this.#nodes.set(step.id, placed);
    this.#attach(placed, step.parent_id);
    if (!known) this.#adopt(step.id);
    return true;
  }

  /** The rows that are shown, top to bottom, without those under a collapsed step. */
  rows(collapsed: ReadonlySet<string>): Row[] {
    const rows: Row[] = [];
    this.#walk(TOP, 1, collapsed, rows);
    return rows;
  }

  /** The steps around this one, innermost first. */
  ancestors(id: string): string[] {
    const found: string[] = [];
    for (let at = this.#nodes.get(id)?.under; at; at = this.#nodes.get(at)?.under) found.push(at);
    return found;
  }

  /** The steps that have steps in them. */
  parents(): string[] {
    return [...this.#nodes.values()].filter((each) => each.id !== TOP && each.children.length).map((each) => each.id);
  }

  #walk(under: string, level: number, collapsed: ReadonlySet<string>, rows: Row[]): void {
    const siblings = this.#nodes.get(under)?.children ?? [];
    siblings.forEach((id, index) => {
      const children = this.#nodes.get(id)?.children.length ?? 0;
      rows.push({ id, level, children, position: index + 1, siblings: siblings.length });
      if (children && !collapsed.has(id)) this.#walk(id, level + 1, collapsed, rows);
    });
  }

  #attach(child: Node, parentId: string): void {
    const known = parentId !== TOP && this.#nodes.has(parentId) && !this.#isAround(child.id, parentId);
    if (parentId !== TOP && !this.#nodes.has(parentId)) orphansOf(this.#orphans, parentId).add(child.id);
    child.under = known ? parentId : TOP;
    const siblings = this.#nodes.get(child.under)?.children ?? [];
    siblings.splice(this.#rank(siblings, child.startedMs), 0, child.id);
  }

  #detach(child: Node, parentId: string): void {
    this.#orphans.get(parentId)?.delete(child.id);
    const siblings = this.#nodes.get(child.under)?.children ?? [];
    const index = siblings.indexOf(child.id);
    if (index >= 0) siblings.splice(index, 1);
  }

  #adopt(parentId: string): void {
    for (const id of this.#orphans.get(parentId) ?? []) {
      const child = this.#nodes.get(id);
      if (!child) continue;
      this.#detach(child, TOP);
      this.#attach(child, parentId);
    }
    this.#orphans.delete(parentId);
  }

  #isAround(outer: string, inner: string): boolean {
    return inner === outer || this.ancestors(inner).includes(outer);
  }

  /** After all siblings that did not start later: equal starts stay in order of arrival. */
  #rank(siblings: readonly string[], startedMs: number): number {
    let low = 0;
    let high = siblings.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.#nodes.get(siblings[middle] ?? TOP)?.startedMs ?? 0;
      if (other <= startedMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function node(id: string, startedMs: number): Node {
  return { id, under: TOP, children: [], startedMs };
}

function orphansOf(orphans: Map<string, Set<string>>, parentId: string): Set<string> {
  const known = orphans.get(parentId) ?? new Set<string>();
  orphans.set(parentId, known);
  return known;
}
