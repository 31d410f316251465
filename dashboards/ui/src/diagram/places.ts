import type { Branch, DiagramNode, NodeType, Workflow } from './model';

/** A part of a place that holds places in order. */
export interface Block {
  readonly key: string;
  readonly role: 'body' | 'branch' | 'try' | 'catch' | 'finally';
  /** What stands before it: a condition or a case. Empty for "else" and for bodies. */
  readonly label: string;
  readonly places: readonly Place[];
}

/**
 * A node at the place where it is met.
 *
 * A function that is called twice is drawn twice, so a node of the diagram may have several places. `index` counts them
 * in the order of the code.
 */
export interface Place {
  readonly key: string;
  readonly index: number;
  readonly node: DiagramNode;
  readonly parent: Place | null;
  /** The step around it, whose children its steps are. */
  readonly step: Place | null;
  readonly loop: Place | null;
  readonly blocks: Block[];
  /** A call that is not drawn again inside itself. */
  readonly cut: boolean;
  /** Of a call that starts a run of its own: the name of that workflow. */
  readonly child: string;
}

export interface Places {
  readonly root: Block;
  readonly all: readonly Place[];
  readonly byKey: ReadonlyMap<string, Place>;
  /** Whether places were left out, because functions call each other too often. */
  readonly truncated: boolean;
}

/** More could not be looked at, and would not be smooth. */
export const MOST_PLACES = 2_000;

const STEPS: ReadonlySet<NodeType> = new Set(['step_do', 'step_sleep', 'step_sleep_until', 'step_wait_for_event']);

export function isStep(node: DiagramNode): boolean {
  return STEPS.has(node.type);
}

type Functions = NonNullable<Workflow['functions']>;

interface Around {
  readonly parent: Place | null;
  readonly step: Place | null;
  readonly loop: Place | null;
  readonly calls: ReadonlySet<string>;
}

/** Place every node of a workflow, functions where they are called. */
export function placesOf(workflow: Workflow): Places {
  const placer = new Placer(workflow.functions ?? {});
  const around = { parent: null, step: null, loop: null, calls: new Set<string>() };
  const root = placer.block('', 'body', '', workflow.nodes, around);
  return { root, all: placer.all, byKey: new Map(placer.all.map((place) => [place.key, place])), truncated: placer.truncated };
}

class Placer {
  readonly all: Place[] = [];
  truncated = false;

  constructor(readonly functions: Functions) {}

  block(key: string, role: Block['role'], label: string, nodes: readonly DiagramNode[], around: Around): Block {
    const places: Place[] = [];
    nodes.forEach((node, index) => {
      if (this.all.length >= MOST_PLACES) this.truncated = true;
      else places.push(this.#place(`${key}/${node.id ?? node.type}.${index}`, node, around));
    });
    return { key: key || '/', role, label, places };
  }

  #place(key: string, node: DiagramNode, around: Around): Place {
    const name = node.name ?? '';
    const definition = node.type === 'function_call' && Object.hasOwn(this.functions, name) ? this.functions[name] : undefined;
    const child = definition?.workflow ?? '';
    const called = child ? null : (definition?.nodes ?? null);
    const cut = called !== null && around.calls.has(name);
    const place: Place = {
      key,
      index: this.all.length,
      node,
      parent: around.parent,
      step: around.step,
      loop: around.loop,
      blocks: [],
      cut,
      child,
    };
    this.all.push(place);
    const inside: Around = {
      parent: place,
      step: isStep(node) ? place : around.step,
      loop: node.type === 'loop' ? place : around.loop,
      calls: called && !cut ? new Set([...around.calls, name]) : around.calls,
    };
    for (const [at, part] of partsOf(node, cut ? null : called).entries()) {
      place.blocks.push(this.block(`${key}:${at}`, part.role, part.label, part.nodes, inside));
    }
    return place;
  }
}

interface Part {
  readonly role: Block['role'];
  readonly label: string;
  readonly nodes: readonly DiagramNode[];
}

function partsOf(node: DiagramNode, called: readonly DiagramNode[] | null): Part[] {
  switch (node.type) {
    case 'if':
    case 'switch':
      return (node.branches ?? []).map((branch) => ({ role: 'branch', label: branch.condition ?? '', nodes: branch.nodes ?? [] }));
    case 'try':
      return [part('try', node.try_block), part('catch', node.catch_block), part('finally', node.finally_block)].filter(
        (each) => each.nodes.length > 0,
      );
    case 'function_call':
      return called?.length ? [{ role: 'body', label: '', nodes: called }] : [];
    default:
      return node.nodes?.length ? [{ role: 'body', label: '', nodes: node.nodes }] : [];
  }
}

function part(role: Block['role'], branch: Branch | null | undefined): Part {
  return { role, label: '', nodes: branch?.nodes ?? [] };
}
