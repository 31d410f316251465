import { expect, test } from 'vitest';
import type { Run, RunStatus } from '../model';
import { goneOnUntil, isSilent, SILENT_MS } from './silence';

const STEPS = { total: 1, pending: 0, running: 1, waiting: 0, completed: 0, failed: 0, skipped: 0 };
const RUN = { status: 'running', started_ms: 0, last_event_ms: 10_000, steps: STEPS } as Run;

test('a run is silent once nothing came for a minute, and its clock stops there', () => {
  expect([69_999, 70_000].map((now) => isSilent(RUN, now))).toEqual([false, true]);
  expect([30_000, 69_999, 70_000, 9e9].map((now) => goneOnUntil(RUN, now))).toEqual([30_000, 69_999, 70_000, 70_000]);
});

test('what arrived was heard, however the clock of its sender is set', () => {
  const heard = { ...RUN, heard_ms: 500_000 };
  expect(isSilent(heard, 500_000 + SILENT_MS - 1)).toBe(false);
  expect(goneOnUntil(heard, 9e9)).toBe(500_000 + SILENT_MS);
  expect(isSilent({ ...heard, last_event_ms: 900_000 }, 900_000)).toBe(false);
});

test('a run of which no time is known is silent since it started, or not at all', () => {
  expect(isSilent({ ...RUN, last_event_ms: null }, SILENT_MS)).toBe(true);
  expect(isSilent({ ...RUN, last_event_ms: null, started_ms: null }, 9e9)).toBe(false);
});

test.each(['pending', 'queued', 'waiting', 'paused', 'completed', 'failed', 'terminated'] as RunStatus[])(
  'a run that is %s may be silent',
  (status) => expect(isSilent({ ...RUN, status }, 9e9)).toBe(false),
);

test('a run with a step that waits may be silent', () => {
  expect(isSilent({ ...RUN, steps: { ...STEPS, waiting: 1 } }, 9e9)).toBe(false);
});
