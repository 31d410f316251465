import { describe, expect, it } from 'vitest';
import { type Layout, layoutOf } from './layout';
import type { Shape } from './pieces';
import type { DiagramNode, NodeType } from './model';
import { MOST_PLACES, placesOf } from './places';
import { IMPLICIT_PARALLEL, run, workflow } from './samples';

const NONE = new Set<string>();

function laid(nodes: DiagramNode[], extras = new Map()): Layout {
  return layoutOf(placesOf(workflow(nodes)), NONE, extras);
}

function titled(layout: Layout, title: string): Shape {
  const found = layout.shapes.find((shape) => shape.title === title);
  if (!found) throw new Error(`no ${title}`);
  return found;
}

/** Whether one box is partly in another: beside or inside is fine. */
function cuts(a: Shape, b: Shape): boolean {
  const apart = a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
  const inside = (one: Shape, other: Shape) =>
    one.x >= other.x && one.y >= other.y && one.x + one.width <= other.x + other.width && one.y + one.height <= other.y + other.height;
  return !apart && !((b.kind === 'frame' && inside(a, b)) || (a.kind === 'frame' && inside(b, a)));
}

type Segment = readonly [x1: number, y1: number, x2: number, y2: number];

/** The straight parts of a line, its rounded corners made square. */
function segments(path: string): Segment[] {
  const numbers = [...path.matchAll(/([MLQ])([^MLQ]*)/g)].map((part) => ({ kind: part[1], at: (part[2] ?? '').trim().split(' ').map(Number) }));
  const points = numbers.filter(({ kind }, at) => kind === 'Q' || numbers[at + 1]?.kind !== 'Q').map(({ at }) => [at[0] ?? 0, at[1] ?? 0]);
  return points.slice(1).map((point, at) => [points[at]?.[0] ?? 0, points[at]?.[1] ?? 0, point[0] ?? 0, point[1] ?? 0] as const);
}

/** Two lines cross if one runs through the middle of the other; to meet, or to run on it, is not to cross. */
function cross(a: Segment, b: Segment): boolean {
  const [h, v] = a[1] === a[3] ? [a, b] : [b, a];
  if (h[1] !== h[3] || v[0] !== v[2]) return false;
  const [left, right, top, bottom] = [Math.min(h[0], h[2]), Math.max(h[0], h[2]), Math.min(v[1], v[3]), Math.max(v[1], v[3])];
  return v[0] > left + 1 && v[0] < right - 1 && h[1] > top + 1 && h[1] < bottom - 1;
}

/** Structured code at random, by a seed: the same for the same number. */
function program(seed: number, depth = 3): DiagramNode[] {
  let state = seed * 2654435761;
  const chance = (below: number) => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 374761393) >>> 0;
    return state % below;
  };
  const nodes = (left: number): DiagramNode[] => Array.from({ length: 1 + chance(3) }, () => node(left));
  const node = (left: number): DiagramNode => {
    const kinds: NodeType[] = ['step_do', 'loop', 'parallel', 'if', 'switch', 'try', 'step_sleep', 'step_do', 'break'];
    const type = left ? (kinds[chance(kinds.length)] ?? 'step_do') : 'step_do';
    if (type === 'if' || type === 'switch') {
      const branches = Array.from({ length: 1 + chance(3) }, (_, at) => ({ condition: at && !chance(2) ? null : `x > ${at}`, nodes: chance(4) ? nodes(left - 1) : [] }));
      return { type, branches, discriminant: 'x' };
    }
    if (type === 'try') return { type, try_block: { nodes: nodes(left - 1) }, catch_block: chance(2) ? { nodes: nodes(left - 1) } : null, finally_block: chance(2) ? { nodes: nodes(left - 1) } : null };
    if (type === 'parallel') return { type, kind: 'all', nodes: nodes(left - 1).map((each) => ({ ...each, starts: 1 + chance(2), resolves: 2 + chance(2) })) };
    if (type === 'break') return { type, kind: 'return' };
    return { type, name: `step ${chance(99)}`, nodes: left && (type === 'loop' || !chance(5)) ? nodes(left - 1) : [] };
  };
  return nodes(depth);
}

describe('layout', () => {
  it('stands steps that start together in one row, and what follows one of them below it', () => {
    const layout = layoutOf(placesOf(IMPLICIT_PARALLEL), NONE, new Map());
    const [a, b, c, d, e, f, last] = ['task a', 'task b', 'task c', 'task d', 'task e', 'task f', 'final sleep'].map((name) => titled(layout, name));
    expect(new Set([a, b, c, e, f].map((shape) => shape?.y)).size).toBe(1);
    expect(d?.y).toBeGreaterThan((c?.y ?? 0) + (c?.height ?? 0));
    expect((d?.x ?? 0) + (d?.width ?? 0) / 2).toBe((c?.x ?? 0) + (c?.width ?? 0) / 2);
    expect(last?.y).toBeGreaterThan((d?.y ?? 0) + (d?.height ?? 0));
  });

  it('draws nothing through anything, whatever the code', () => {
    const wrong: string[] = [];
    for (let seed = 1; seed <= 200; seed++) {
      const layout = laid(program(seed));
      const shapes = layout.shapes.filter((shape) => shape.kind !== 'bar');
      shapes.forEach((one, at) => {
        const other = shapes.slice(at + 1).find((each) => cuts(one, each));
        if (other) wrong.push(`seed ${seed}: ${one.title} cuts ${other.title}`);
        if (one.x < 0 || one.y < 0 || one.x + one.width > layout.width || one.y + one.height > layout.height) wrong.push(`seed ${seed}: ${one.title} is outside`);
      });
      const lines = layout.edges.flatMap((edge) => segments(edge.path).map((segment) => ({ segment, edge })));
      lines.forEach((one, at) => {
        const other = lines.slice(at + 1).find((each) => each.edge !== one.edge && cross(one.segment, each.segment));
        if (other) wrong.push(`seed ${seed}: ${one.edge.path} crosses ${other.edge.path}`);
      });
    }
    expect(wrong).toEqual([]);
  });

  it('has a way past an if without an else, and none past one with it', () => {
    const bare = laid([{ type: 'if', branches: [{ condition: 'x', nodes: [run('a')] }] }]);
    const whole = laid([{ type: 'if', branches: [{ condition: 'x', nodes: [run('a')] }, { condition: null, nodes: [run('b')] }] }]);
    expect(bare.edges.some((edge) => edge.when.endsWith('#none'))).toBe(true);
    expect(whole.edges.some((edge) => edge.when.endsWith('#none'))).toBe(false);
  });

  it('leads nowhere from a return', () => {
    const nodes: DiagramNode[] = [run('a'), { type: 'break', kind: 'return' }];
    expect(laid(nodes).edges.some((edge) => edge.when === '/end')).toBe(false);
    expect(laid([run('a')]).edges.some((edge) => edge.when === '/end')).toBe(true);
  });

  it('draws one box where something is folded', () => {
    const places = placesOf(workflow([{ type: 'loop', nodes: [run('a'), run('b')] }]));
    const loop = places.all[0]?.key ?? '';
    const folded = layoutOf(places, new Set([loop]), new Map());
    expect(folded.shapes.filter((shape) => shape.place).map((shape) => [shape.kind, shape.detail])).toEqual([['card', '2 steps']]);
  });

  it('puts what is not in the code beside its parent', () => {
    const places = placesOf(workflow([run('a')]));
    const key = places.all[0]?.key ?? '';
    const layout = layoutOf(places, NONE, new Map([[key, [{ key: 'x', name: 'surprise' }]], ['', [{ key: 'y', name: 'another' }]]]));
    const [a, inside, top] = [titled(layout, 'a'), titled(layout, 'surprise'), titled(layout, 'another')];
    expect(inside.x).toBeGreaterThan(a.x + a.width);
    expect(inside.y).toBe(a.y);
    expect(top.y).toBeLessThan(a.y);
  });

  it('survives a workflow without a node, and one without an end', () => {
    expect(laid([]).shapes.map((shape) => shape.kind)).toEqual(['start', 'end']);
    const calls = { f: { name: 'f', nodes: [{ type: 'function_call', name: 'g' } as const, { type: 'function_call', name: 'g' } as const] }, g: { name: 'g', nodes: [run('a'), { type: 'function_call', name: 'f' } as const] } };
    const places = placesOf(workflow([{ type: 'function_call', name: 'f' }], calls));
    expect(places.all.filter((place) => place.cut).length).toBe(2);
  });

  it('stops where functions call each other too often', () => {
    const functions = Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`f${at}`, { name: `f${at}`, nodes: [run('a'), call(at + 1), call(at + 1)] }]));
    const places = placesOf(workflow([call(0)], functions));
    expect(places.truncated).toBe(true);
    expect(places.all.length).toBe(MOST_PLACES);
  });
});

function call(at: number): DiagramNode {
  return { type: 'function_call', name: `f${at}` };
}
