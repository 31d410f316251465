import { describe, expect, it, vi } from 'vitest';
import { allOf, boardAddress, dayUntil } from './links';

const GRAFANA = 'https://grafana.example/team/';
const HOUR = 3_600_000;

describe('the address of a dashboard', () => {
  it('has what would end or split it written otherwise', () => {
    const run = 'dag:manual__2026+00:00 a&b=c#d/é%2F"';
    const address = new URL(boardAddress(GRAFANA, 'run', { run }, allOf(1_000_000.4, 2_000_000.2)));

    expect(address.origin + address.pathname).toBe(`${GRAFANA}d/stagelight-run`);
    expect(Object.fromEntries(address.searchParams)).toEqual({ 'var-run': run, from: '995000', to: '2005001' });
    expect(address.hash).toBe('');
    expect(address.search).not.toContain('+');
  });

  it('leaves out what is not known', () => {
    expect(boardAddress(GRAFANA, 'collector', {}, null)).toBe(`${GRAFANA}d/stagelight-collector?`);
    expect(boardAddress(GRAFANA, 'workflow', { workflow: '' }, allOf(null, 5))).toBe(`${GRAFANA}d/stagelight-workflow?`);
  });

  it('lasts until now while the run goes on', () => {
    expect(boardAddress(GRAFANA, 'run', { run: 'r' }, allOf(9_000, null))).toContain('&from=4000&to=now');
  });
});

describe('the day up to the end of a run', () => {
  it('is a day, or the whole run', () => {
    vi.setSystemTime(100 * HOUR);
    expect(dayUntil(50 * HOUR, 60 * HOUR)).toEqual({ from: 36 * HOUR, to: 60 * HOUR });
    expect(dayUntil(10 * HOUR, 60 * HOUR)).toEqual({ from: 10 * HOUR, to: 60 * HOUR });
    expect(dayUntil(99 * HOUR, null)).toEqual({ from: 76 * HOUR, to: null });
    expect(dayUntil(null, null)).toBeNull();
    vi.useRealTimers();
  });
});
