import { expect, test } from 'vitest';
import type { Step } from '../model';
import { StepTree } from './tree';

function step(id: string, parent_id = '', started_ms: number | null = 0): Step {
  return {
    id, name: id, kind: 'do', parent_id, status: 'running', started_ms, ended_ms: null, duration_ms: null, attempt: 1,
    error: null, progress: null, attributes: {}, child_run_id: '', attempts: [],
  }; // prettier-ignore
}

function outline(tree: StepTree, collapsed: readonly string[] = []): string {
  return tree
    .rows(new Set(collapsed))
    .map((row) => '.'.repeat(row.level - 1) + row.id)
    .join(' ');
}

const FAMILY = [step('a', '', 1), step('a1', 'a', 2), step('a2', 'a', 3), step('a11', 'a1', 2.5), step('b', '', 4), step('c', '', null)];

function* orders<T>(items: readonly T[]): Generator<T[]> {
  if (!items.length) yield [];
  for (const [at, item] of items.entries()) {
    for (const rest of orders(items.filter((_, other) => other !== at))) yield [item, ...rest];
  }
}

test('the same tree comes out of every order of arrival', () => {
  for (const order of orders(FAMILY)) {
    const tree = new StepTree();
    for (const each of order) tree.put(each);
    expect(outline(tree)).toBe('a .a1 ..a11 .a2 b c');
  }
});

test('a step whose parent is unknown stands at the top until the parent comes', () => {
  const tree = new StepTree();
  tree.put(step('child', 'late'));
  expect(outline(tree)).toBe('child');
  tree.put(step('late'));
  expect(outline(tree)).toBe('late .child');
});

test('only what changes the rows is called a change of rows', () => {
  const tree = new StepTree();
  expect(tree.put(step('a', '', 5))).toBe(true);
  expect(tree.put({ ...step('a', '', 5), status: 'completed' })).toBe(false);
  expect(tree.get('a')?.status).toBe('completed');
  tree.put(step('b', '', 6));
  expect(tree.put(step('a', '', 7))).toBe(true);
  expect(outline(tree)).toBe('b a');
  tree.put(step('a', 'b', 7));
  expect(outline(tree)).toBe('b .a');
});

test('a circle of parents loses no step', () => {
  const tree = new StepTree();
  for (const each of [step('a', 'c'), step('b', 'a'), step('c', 'b'), step('own', 'own')]) tree.put(each);
  expect(tree.rows(new Set()).map((row) => row.id).sort()).toEqual(['a', 'b', 'c', 'own']);
});

test('what is under a collapsed step has no row, and rows know their place', () => {
  const tree = new StepTree();
  for (const each of FAMILY) tree.put(each);
  expect(outline(tree, ['a1'])).toBe('a .a1 .a2 b c');
  expect(tree.rows(new Set(['a']))[0]).toEqual({ id: 'a', level: 1, children: 2, position: 1, siblings: 3 });
  expect(tree.ancestors('a11')).toEqual(['a1', 'a']);
  expect(tree.parents().sort()).toEqual(['a', 'a1']);
});
