import type { Attempt, Run, Step, StepStatus } from '../model';

/** A run as it was at a moment, from what is known of it now. */
export function stepsAt(steps: readonly Step[], timeMs: number): Step[] {
  return steps.filter((step) => step.started_ms !== null && step.started_ms <= timeMs).map((step) => stepAt(step, timeMs));
}

export function runAt(run: Run, timeMs: number): Run {
  return run.ended_ms !== null && run.ended_ms > timeMs ? { ...run, status: 'running', ended_ms: null, duration_ms: null, error: null } : run;
}

/** From the first start to the last end, and never nothing. */
export function spanOf(run: Run, steps: readonly Step[]): { readonly from: number; readonly to: number } {
  const from = Math.min(...[run.started_ms, ...steps.map((step) => step.started_ms)].filter((each) => each !== null));
  const to = Math.max(...[run.ended_ms, ...steps.map((step) => step.ended_ms ?? step.started_ms)].filter((each) => each !== null));
  return Number.isFinite(from) && Number.isFinite(to) ? { from, to: Math.max(to, from + 1) } : { from: 0, to: 1 };
}

function stepAt(step: Step, timeMs: number): Step {
  if (step.ended_ms !== null && step.ended_ms <= timeMs) return step;
  const attempts = step.attempts.filter((each) => each.started_ms === null || each.started_ms <= timeMs).map((each) => attemptAt(each, timeMs));
  const latest = attempts.at(-1);
  const status: StepStatus = latest && latest.status !== 'failed' && latest.status !== 'completed' ? latest.status : 'running';
  return {
    ...step,
    status: /^(sleep|wait)/.test(step.kind) ? 'waiting' : status,
    ended_ms: null,
    duration_ms: null,
    attempt: latest?.attempt ?? step.attempt,
    error: null,
    attempts,
  };
}

function attemptAt(attempt: Attempt, timeMs: number): Attempt {
  if (attempt.ended_ms !== null && attempt.ended_ms <= timeMs) return attempt;
  return { ...attempt, status: 'running', ended_ms: null, error: null };
}
