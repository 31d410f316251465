import type { Run } from '../model';

/** A run of which nothing came for so long may be dead: nobody says so when a process is killed. */
export const SILENT_MS = 60_000;

/** When the run was last heard of. What arrives counts as well as what it says of its time: senders' clocks differ. */
export function heardOf(run: Run): number | null {
  const last = run.last_event_ms ?? run.started_ms;
  return run.heard_ms === undefined ? last : Math.max(run.heard_ms, last ?? 0);
}

/** Whether the run says that it is at work, and has said nothing else for a while. One that waits has nothing to say. */
export function isSilent(run: Run, now: number): boolean {
  const heard = heardOf(run);
  return run.status === 'running' && run.steps.waiting === 0 && heard !== null && now - heard >= SILENT_MS;
}

/** Until when the run is known, or supposed, to have gone on: the clock of a silent one stands where the page gave up. */
export function goneOnUntil(run: Run, now: number): number {
  return isSilent(run, now) ? (heardOf(run) ?? now) + SILENT_MS : now;
}
