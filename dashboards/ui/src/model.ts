/** What the API and the feed send (collector/README.md). All times are Unix milliseconds. */

export const RUN_STATUSES = [
  'pending',
  'queued',
  'running',
  'waiting',
  'paused',
  'completed',
  'failed',
  'terminated',
] as const;
export type RunStatus = (typeof RUN_STATUSES)[number];
export type StepStatus = 'pending' | 'running' | 'waiting' | 'completed' | 'failed' | 'skipped';
export type Status = RunStatus | StepStatus;

export type Attributes = Readonly<Record<string, unknown>>;

export interface Failure {
  readonly type: string;
  readonly message: string;
  readonly stacktrace: string;
}

export interface Progress {
  readonly current: number | null;
  readonly total: number | null;
  readonly message: string;
}

export interface Run {
  readonly id: string;
  readonly workflow: string;
  readonly service: string;
  readonly status: RunStatus;
  readonly started_ms: number | null;
  readonly ended_ms: number | null;
  readonly duration_ms: number | null;
  readonly last_event_ms: number | null;
  /** When this page heard of it last, by the collector's clock; the page's own, no collector sends it. */
  readonly heard_ms?: number;
  readonly error: Failure | null;
  readonly parent_run_id: string;
  readonly parent_step_id: string;
  readonly trace_ids: readonly string[];
  readonly attributes: Attributes;
  readonly dropped_by_agent: number;
  /** The name of a step that is running now. Newer collectors send it. */
  readonly running_step?: string;
  readonly progress: Progress | null;
  readonly steps: Readonly<Record<StepStatus | 'total', number>>;
}

export interface Attempt {
  readonly attempt: number;
  readonly status: StepStatus;
  readonly started_ms: number | null;
  readonly ended_ms: number | null;
  readonly error: Failure | null;
}

export interface Step {
  readonly id: string;
  readonly name: string;
  readonly kind: string;
  readonly parent_id: string;
  readonly status: StepStatus;
  readonly started_ms: number | null;
  readonly ended_ms: number | null;
  readonly duration_ms: number | null;
  readonly attempt: number;
  readonly error: Failure | null;
  readonly progress: Progress | null;
  readonly attributes: Attributes;
  readonly child_run_id: string;
  readonly attempts: readonly Attempt[];
}

export interface LogLine {
  readonly time_ms: number;
  readonly step_id: string;
  readonly severity: string;
  readonly message: string;
  readonly attributes: Attributes;
}

export interface Snapshot {
  readonly run: Run;
  readonly steps: readonly Step[];
  readonly logs: readonly LogLine[];
  readonly truncated: { readonly steps: number; readonly logs: number };
}

export interface RunPage {
  readonly runs: readonly Run[];
  readonly next_cursor: string | null;
}

export const LOBBY = 'lobby';

/** What a feed message of any type may hold beside `room`. */
export interface FeedData {
  readonly room?: string;
  readonly run?: Run;
  readonly runs?: readonly Run[];
  readonly step?: Step | null;
  readonly steps?: readonly Step[];
  readonly log?: LogLine | null;
  readonly logs?: readonly LogLine[];
  readonly truncated?: { readonly steps: number; readonly logs: number };
  readonly run_id?: string;
}

/** The service of runs that the engine tells of. */
export const ENGINE = 'engine';

const ENDED: ReadonlySet<Status> = new Set<Status>(['completed', 'failed', 'terminated', 'skipped']);

export function hasEnded(status: Status): boolean {
  return ENDED.has(status);
}
