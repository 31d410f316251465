import { describe, expect, it } from 'vitest';
import type { Run, Step } from '../model';
import { linesAround } from './code';
import { AGAIN, END, NONE } from './layout';
import { matchSteps } from './match';
import type { DiagramNode } from './model';
import { markOf, type Overlay, overlayOf } from './overlay';
import { type Places, placesOf } from './places';
import { runAt, spanOf, stepsAt } from './replay';
import { run, step, workflow } from './samples';

const FAILURE = { type: 'ValueError', message: 'no', stacktrace: '' };

function shown(nodes: DiagramNode[], steps: Step[], status: Run['status'] = 'running'): { overlay: Overlay; places: Places; key: (at: number) => string } {
  const places = placesOf(workflow(nodes));
  const overlay = overlayOf(places, matchSteps(places, steps), steps, { status });
  return { overlay, places, key: (at) => places.all[at]?.key ?? '' };
}

describe('overlay', () => {
  it('counts, and says what runs now', () => {
    const open = { status: 'running', ended_ms: null } as const;
    const { overlay, key } = shown([run('a'), { type: 'loop', nodes: [run('b')] }, run('c')], [step('1', 'a', 0), step('2', 'b', 10), step('3', 'b', 20, open)]);
    expect(markOf(overlay, key(0))).toMatchObject({ status: 'completed', count: 1, startedMs: 0, endedMs: 5 });
    expect(markOf(overlay, key(1))).toMatchObject({ status: 'running', count: 2 });
    expect(markOf(overlay, key(2))).toMatchObject({ status: 'running', count: 2, running: 1, startedMs: 20, endedMs: null });
    expect(markOf(overlay, key(3)).status).toBe('idle');
    expect(overlay.current).toBe(key(2));
    expect([...overlay.running].sort()).toEqual([key(1), key(2), key(1) + AGAIN].sort());
    expect(overlay.reached.has(END)).toBe(false);
  });

  it('shows a failure of one among many', () => {
    const { overlay, key } = shown([{ type: 'loop', nodes: [run('a')] }], [step('1', 'a', 0), step('2', 'a', 1, { status: 'failed', error: FAILURE }), step('3', 'a', 2)], 'failed');
    expect(markOf(overlay, key(1))).toMatchObject({ status: 'failed', failed: 1, count: 3, error: FAILURE });
    expect(overlay.reached.has(END)).toBe(false);
  });

  it('fades the branches that were not taken, once it is known', () => {
    const nodes: DiagramNode[] = [{ type: 'if', branches: [{ condition: 'x', nodes: [run('a')] }, { condition: null, nodes: [run('b')] }] }, run('c')];
    expect(shown(nodes, []).overlay.faded.size).toBe(0);
    const { overlay, key } = shown(nodes, [step('1', 'b', 0)]);
    expect(overlay.faded.has(key(1))).toBe(true);
    expect(overlay.faded.has(key(2))).toBe(false);
    expect(shown(nodes, [step('1', 'c', 0)]).overlay.faded.has(key(2))).toBe(true);
  });

  it('keeps a loop s other branch, which may yet come, until the run is over', () => {
    const nodes: DiagramNode[] = [{ type: 'loop', nodes: [{ type: 'if', branches: [{ condition: 'x', nodes: [run('a')] }, { condition: null, nodes: [run('b')] }] }] }];
    expect(shown(nodes, [step('1', 'a', 0)]).overlay.faded.size).toBe(0);
    const over = shown(nodes, [step('1', 'a', 0)], 'completed');
    expect(over.overlay.faded.has(over.key(3))).toBe(true);
  });

  it('lights the way past an if of which no branch was taken', () => {
    const { overlay, key } = shown([{ type: 'if', branches: [{ condition: 'x', nodes: [run('a')] }] }, run('b')], [step('1', 'b', 0)]);
    expect(overlay.reached.has(key(0) + NONE)).toBe(true);
    expect(overlay.faded.has(key(1))).toBe(true);
  });

  it('does not call running what a run left open', () => {
    const { overlay, key } = shown([run('a')], [step('1', 'a', 0, { status: 'running', ended_ms: null })], 'terminated');
    expect(overlay.running.size).toBe(0);
    expect(markOf(overlay, key(0)).count).toBe(1);
  });

  it('counts the rounds of a loop that tries again by the attempts', () => {
    const nodes: DiagramNode[] = [{ type: 'loop', nodes: [{ type: 'try', try_block: { nodes: [run('a')] } }] }];
    const { overlay, key } = shown(nodes, [step('1', 'a', 0, { attempt: 4 })], 'completed');
    expect(markOf(overlay, key(0)).count).toBe(4);
  });
});

describe('replay', () => {
  const steps = [step('1', 'a', 100), step('2', 'b', 200, { ended_ms: 400, status: 'failed', error: FAILURE })];
  const whole = { status: 'failed', started_ms: 90, ended_ms: 410, error: FAILURE } as Run;

  it('shows the run as it was', () => {
    expect(stepsAt(steps, 99)).toEqual([]);
    expect(stepsAt(steps, 150)).toEqual([steps[0]]);
    expect(stepsAt(steps, 300)[1]).toMatchObject({ status: 'running', ended_ms: null, error: null });
    expect(stepsAt(steps, 400)).toEqual(steps);
    expect(runAt(whole, 300).status).toBe('running');
    expect(runAt(whole, 410)).toBe(whole);
    expect(spanOf(whole, steps)).toEqual({ from: 90, to: 410 });
  });

  it('shows the attempt that was going on', () => {
    const attempts = [
      { attempt: 1, status: 'failed', started_ms: 200, ended_ms: 250, error: FAILURE },
      { attempt: 2, status: 'completed', started_ms: 300, ended_ms: 400, error: null },
    ] as const;
    const retried = step('3', 'c', 200, { ended_ms: 400, attempt: 2, attempts });
    expect(stepsAt([retried], 220)[0]).toMatchObject({ attempt: 1, attempts: [{ status: 'running' }] });
    expect(stepsAt([retried], 350)[0]).toMatchObject({ attempt: 2, attempts: [{ status: 'failed' }, { status: 'running' }] });
  });
});

describe('code', () => {
  it('shows the lines around one, without what all begin with', () => {
    const text = ['def f():', ...Array.from({ length: 30 }, (_, at) => `    line ${at + 2}`)].join('\n');
    const lines = linesAround(text, 10);
    expect(lines.map((line) => line.number)).toEqual(Array.from({ length: 14 }, (_, at) => at + 6));
    expect(lines.find((line) => line.here)).toEqual({ number: 10, text: 'line 10', here: true });
    expect(linesAround('x'.repeat(5_000), 1)[0]?.text.length).toBe(401);
    expect(linesAround('', 7)).toEqual([]);
  });
});
