import { expect, test } from 'vitest';
import type { Step } from '../model';
import { parseRoute, runLink, stepLink } from '../route.svelte';
import { bars } from './bars';
import { ago, attributeText, duration, progressText, runningDuration, shortId } from './format';
import { pan, percent, ticks, zoom } from './scale';

const STEP: Step = {
  id: 's', name: 's', kind: 'do', parent_id: '', status: 'completed', started_ms: 0, ended_ms: 50, duration_ms: 50, attempt: 1,
  error: null, progress: null, attributes: {}, child_run_id: '', attempts: [],
}; // prettier-ignore
const WHOLE = { from: 0, to: 100 };

test.each([
  [0, '0ms'], [0.42, '0.4ms'], [87.4, '87ms'], [999.6, '1.00s'], [4_211, '4.21s'], [9_999, '10.0s'], [42_120, '42.1s'],
  [59_990, '1m 00s'], [184_000, '3m 04s'], [3_599_900, '1h 00m'], [7_500_000, '2h 05m'], [273_600_000, '3d 4h'], [-5, '0ms'],
])('%d ms reads %s', (ms, text) => expect(duration(ms)).toBe(text)); // prettier-ignore

test('what runs shows tenths at first, then whole seconds', () => {
  expect([340, 9_950, 10_900, 59_999, 61_000].map(runningDuration)).toEqual(['0.3s', '9.9s', '10s', '59s', '1m 01s']);
});

test('times past are told in one unit', () => {
  expect([1_000, 12_000, 300_000, 7_200_000, 172_800_000].map((past) => ago(0, past))).toEqual([
    'just now', '12s ago', '5m ago', '2h ago', '2d ago',
  ]); // prettier-ignore
});

test('random ids are cut, names are not, values are text', () => {
  expect(shortId('9f8c1e52-77ab-4c11-9d30-5f1f6e2f90aa')).toBe('9f8c1e52');
  expect(shortId('order-2026-11-22')).toBe('order-2026-11-22');
  expect([attributeText('a'), attributeText({ a: [1] }), attributeText(undefined)]).toEqual(['a', '{"a":[1]}', '']);
  expect(progressText({ current: 0, total: 8, message: 'copying' })).toBe('0 / 8 copying');
});

test('ticks are round, after the start of the run, and not crowded', () => {
  const found = ticks({ from: 1_000_000, to: 1_043_000 }, 1_000_000, 800);
  expect(found.map((tick) => tick.label)).toEqual(['0', '5s', '10s', '15s', '20s', '25s', '30s', '35s', '40s']);
  expect(ticks({ from: 90_000, to: 400_000 }, 0, 400).map((tick) => tick.label)).toEqual(['2m', '4m', '6m']);
  expect(ticks({ from: 0, to: 1e13 }, 0, 800).length).toBeLessThan(300);
});

test('zooming keeps the place under the pointer and stays inside the run', () => {
  const near = zoom(WHOLE, 0.5, 0.25, WHOLE);
  expect(percent(near, 25)).toBeCloseTo(25);
  expect(zoom(near, 100, 0.5, WHOLE)).toEqual(WHOLE);
  expect(pan(near, 1_000, WHOLE)).toEqual({ from: 50, to: 100 });
  expect(zoom(WHOLE, 1e-9, 0.5, WHOLE).to - 50).toBeCloseTo(0.25);
});

test('one bar per attempt; what runs reaches to now; what is out of sight is not drawn', () => {
  const attempts = [
    { attempt: 1, status: 'failed' as const, started_ms: 0, ended_ms: 10, error: null },
    { attempt: 2, status: 'running' as const, started_ms: 20, ended_ms: null, error: null },
  ];
  const running = { ...STEP, status: 'running' as const, ended_ms: null, attempts };
  expect(bars(running, WHOLE, 60)).toEqual([
    { key: 1, status: 'failed', left: 0, width: 10, open: false },
    { key: 2, status: 'running', left: 20, width: 40, open: true },
  ]);
  expect(bars(running, { from: 15, to: 115 }, 60).map((bar) => bar.key)).toEqual([2]);
  expect(bars(STEP, WHOLE, 0)).toEqual([{ key: 1, status: 'completed', left: 0, width: 50, open: false }]);
  expect(bars({ ...STEP, started_ms: null }, WHOLE, 0)).toEqual([]);
});

test('every link leads back to what it was made of', () => {
  const id = 'a/b ?#%';
  expect(parseRoute(stepLink(id, '../x'))).toEqual({ view: 'run', id, tab: 'timeline', step: '../x' });
  expect(parseRoute(runLink(id, 'logs'))).toMatchObject({ id, tab: 'logs' });
  expect([parseRoute(''), parseRoute('#/runs/'), parseRoute('#javascript:alert(1)')]).toEqual(Array(3).fill({ view: 'lobby' }));
  expect(parseRoute('#/runs/%E0%A4%A')).toMatchObject({ id: '%E0%A4%A' });
});
