import { hasEnded, type Run, RUN_STATUSES, type RunStatus } from '../model';

export interface LobbyFilter {
  readonly text: string;
  readonly status: RunStatus | '';
}

/** The runs that hold every word of the text somewhere in what their row shows. */
export function matchText(runs: readonly Run[], text: string): readonly Run[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return runs;
  return runs.filter((run) => {
    const hay = `${run.workflow}\n${run.id}\n${run.service}\n${run.error?.type ?? ''}\n${run.error?.message ?? ''}`.toLowerCase();
    return words.every((word) => hay.includes(word));
  });
}

export interface StatusCount {
  readonly status: RunStatus;
  readonly count: number;
}

/** How many runs there are of each status that occurs, and always of the three that people look for. */
export function countStatuses(runs: readonly Run[], chosen: RunStatus | ''): StatusCount[] {
  const counts = new Map<RunStatus, number>();
  for (const run of runs) counts.set(run.status, (counts.get(run.status) ?? 0) + 1);
  const always: readonly (RunStatus | '')[] = ['running', 'completed', 'failed', chosen];
  return RUN_STATUSES.map((status) => ({ status, count: counts.get(status) ?? 0 })).filter(
    ({ status, count }) => count > 0 || always.includes(status),
  );
}

/** How long the run took, or has been going at this moment; null where that is not known. */
export function runLength(run: Run, now: number): number | null {
  if (run.duration_ms !== null) return run.duration_ms;
  if (run.started_ms === null) return null;
  if (run.ended_ms !== null) return run.ended_ms - run.started_ms;
  return hasEnded(run.status) ? null : now - run.started_ms;
}
