import type { Attempt, Step, StepStatus } from '../model';
import { percent, type Span } from './scale';

export interface Bar {
  /** The attempt's number. */
  readonly key: number;
  readonly status: StepStatus;
  /** Percent of the track's width. */
  readonly left: number;
  readonly width: number;
  readonly open: boolean;
}

/** One bar per attempt of the step, cut to the span; what has not ended reaches to `now`. */
export function bars(step: Step, span: Span, now: number): Bar[] {
  const found: Bar[] = [];
  for (const attempt of attemptsOf(step)) {
    const bar = attempt.started_ms === null ? null : draw(attempt, attempt.started_ms, span, now);
    if (bar) found.push(bar);
  }
  return found;
}

/** From the first start to the last end: what waits between attempts is drawn along it. */
export function reach(step: Step, span: Span, now: number): Bar | null {
  if (step.started_ms === null) return null;
  return draw(step, step.started_ms, span, now);
}

/** The step's attempts; a step that tells of none is one attempt by itself. */
export function attemptsOf(step: Step): readonly Attempt[] {
  if (step.attempts.length) return step.attempts;
  const { attempt, status, started_ms, ended_ms, error } = step;
  return started_ms === null ? [] : [{ attempt: attempt || 1, status, started_ms, ended_ms, error }];
}

type Drawn = Pick<Attempt, 'attempt' | 'status' | 'ended_ms'>;

function draw(attempt: Drawn, startedMs: number, span: Span, now: number): Bar | null {
  const open = attempt.ended_ms === null && (attempt.status === 'running' || attempt.status === 'waiting');
  const end = attempt.ended_ms ?? (open ? Math.max(now, startedMs) : startedMs);
  if (end < span.from || startedMs > span.to) return null;
  // Cut just outside the track, so that a cut end shows no rounded corner.
  const left = Math.max(-1, percent(span, startedMs));
  const right = Math.min(101, percent(span, end));
  return { key: attempt.attempt, status: attempt.status, left, width: Math.max(0, right - left), open };
}
