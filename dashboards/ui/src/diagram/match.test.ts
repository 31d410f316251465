import { describe, expect, it } from 'vitest';
import type { Step } from '../model';
import { matchSteps } from './match';
import type { DiagramNode, Workflow } from './model';
import { placesOf } from './places';
import { run, step, workflow } from './samples';

/** The number of the place, in the order of the code, at which each step is; -1 beside the code. */
function placed(flow: Workflow | DiagramNode[], steps: Step[]): number[] {
  const places = placesOf(Array.isArray(flow) ? workflow(flow) : flow);
  const match = matchSteps(places, steps);
  return steps.map((each) => match.at.get(each.id)?.index ?? -1);
}

function named(...names: string[]): Step[] {
  return names.map((name, at) => step(`${at}`, name, at));
}

describe('match', () => {
  it('goes by name', () => {
    expect(placed([run('a'), run('b')], named('b', 'a', 'c'))).toEqual([1, 0, -1]);
  });

  it('goes by the template, and a plain name is the better fit', () => {
    const nodes = [run('load ${...}'), run('load ${...} of ${...}'), run('load all'), run('<dynamic>')];
    expect(placed(nodes, named('load 7', 'load 1 of 2', 'load all', 'else'))).toEqual([0, 1, 2, 3]);
  });

  it('takes what a template holds literally', () => {
    expect(placed([run('cost (${...}) + 1?')], named('cost (7) + 1?', 'cost 7 + 1'))).toEqual([0, -1]);
  });

  it('tells equal names apart by their place between others', () => {
    const nodes = [run('save'), run('check'), run('save'), run('send'), run('save')];
    expect(placed(nodes, named('save', 'check', 'save', 'send', 'save'))).toEqual([0, 1, 2, 3, 4]);
    expect(placed(nodes, named('check', 'save', 'send'))).toEqual([1, 2, 3]);
    expect(placed(nodes, named('send', 'save'))).toEqual([3, 4]);
  });

  it('goes round in a loop', () => {
    const nodes: DiagramNode[] = [{ type: 'loop', nodes: [run('a'), run('b'), run('a')] }];
    expect(placed(nodes, named('a', 'b', 'a', 'a', 'b', 'a'))).toEqual([1, 2, 3, 1, 2, 3]);
  });

  it('looks below the step that a step ran in', () => {
    const nodes = [run('outer', { nodes: [run('same')] }), run('same'), run('other', { nodes: [run('same')] })];
    const steps = [
      step('1', 'outer', 0),
      step('2', 'same', 1, { parent_id: '1' }),
      step('3', 'same', 2),
      step('4', 'other', 3),
      step('5', 'same', 4, { parent_id: '4' }),
      step('6', 'odd', 5, { parent_id: '4' }),
    ];
    expect(placed(nodes, steps)).toEqual([0, 1, 2, 3, 4, -1]);
    const match = matchSteps(placesOf(workflow(nodes)), steps);
    expect([...match.extras.values()].flat().map((extra) => extra.name)).toEqual(['odd']);
    expect([...match.extras.keys()]).toEqual([placesOf(workflow(nodes)).all[3]?.key]);
  });

  it('puts a child run at the call of its workflow', () => {
    const flow = workflow([run('a'), { type: 'function_call', name: 'index' }], { index: { name: 'index', workflow: 'index of names', nodes: [run('write')] } });
    expect(placed(flow, [step('1', 'a', 0), step('2', 'index of names', 1, { kind: 'child' })])).toEqual([0, 1]);
  });

  it('tells calls of one function apart', () => {
    const flow = workflow([{ type: 'function_call', name: 'f' }, run('between'), { type: 'function_call', name: 'f' }], { f: { name: 'f', nodes: [run('inner')] } });
    expect(placed(flow, named('inner', 'between', 'inner'))).toEqual([1, 2, 4]);
  });

  it('does not depend on the order in which steps arrive', () => {
    const nodes = [run('a'), run('b'), run('a')];
    const steps = named('a', 'b', 'a');
    const match = matchSteps(placesOf(workflow(nodes)), [...steps].reverse());
    expect(steps.map((each) => match.at.get(each.id)?.index)).toEqual([0, 1, 2]);
  });

  it('bounds what is beside the code, and survives circles of parents', () => {
    const many = Array.from({ length: 500 }, (_, at) => step(`${at}`, `odd ${at}`, at));
    const match = matchSteps(placesOf(workflow([])), many);
    expect([...match.extras.values()].flat().length).toBe(24);
    expect(placed([run('a')], [step('1', 'a', 0, { parent_id: '2' }), step('2', 'a', 1, { parent_id: '1' })])).toEqual([-1, -1]);
  });
});
