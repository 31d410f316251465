import { address } from '../api';

/** The event for which an approval waits unless the workflow says otherwise. */
export const APPROVAL = 'approval';

export type StepType = 'do' | 'sleep' | 'wait_for_event' | 'child';
export type Operation = 'pause' | 'resume' | 'terminate' | 'restart' | 'skip' | 'events';

export interface EngineStep {
  readonly name: string;
  readonly count: number;
  readonly type: StepType;
  readonly state: 'running' | 'waiting' | 'completed' | 'failed' | 'skipped';
  readonly event_type: string;
  readonly due: number;
}

export interface Instance {
  readonly workflow: string;
  readonly id: string;
  readonly status: string;
  readonly created: number;
  readonly params: unknown;
  readonly output: unknown;
  readonly difference: { readonly reason: string } | null;
}

export interface InstanceAnswer {
  readonly instance: Instance;
  readonly steps: readonly EngineStep[];
  readonly can: readonly Operation[];
}

export interface Shard {
  readonly number: number;
  readonly kind: 'souschef' | 'account_old';
  readonly queued: number;
  readonly woken: number;
  readonly slots: number;
}

export interface Queue {
  readonly queued: number;
  readonly running: number;
  readonly waiting: number;
  readonly limit: number;
  readonly account_limit: number;
  readonly account_running: number;
  readonly shards: readonly Shard[];
}

export interface Workflow {
  readonly name: string;
  readonly class_name: string;
  readonly schedules: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
  readonly queue: Queue;
}

/** What a refusal said. A run that is no instance here is none of the engine's business. */
export class Refusal extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** Ask the engine. Rejects with a message that can be shown. */
export async function ask<T>(method: string, path: readonly string[], body?: unknown, query = ''): Promise<T> {
  const init: RequestInit = { method };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { 'Content-Type': 'application/json' };
  }
  const where = ['api/v1/engine/workflows', ...path.map(encodeURIComponent)].join('/') + query;
  const response = await fetch(address(where), init).catch(() => null);
  if (!response) throw new Refusal('The collector cannot be reached.', 0);
  const answer = (await response.json().catch(() => ({}))) as { detail?: string; code?: number };
  if (response.ok) return answer as T;
  if (response.status === 404 && !answer.code) throw new Refusal('The engine is switched off on this collector.', 404);
  throw new Refusal(answer.detail ?? `The collector answered ${response.status}.`, response.status);
}

export function askInstance(workflow: string, id: string, operation?: string, body?: unknown): Promise<InstanceAnswer> {
  const path = [workflow, 'instances', id];
  return operation ? ask('POST', [...path, operation], body ?? {}) : ask('GET', path);
}

/** Read what somebody typed as JSON; nothing typed is null. Throws a message that can be shown. */
export function parsed(text: string): unknown {
  if (!text.trim()) return null;
  try {
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`This is not JSON: ${why}. Text needs quotes, as in "Ada".`);
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Which step of the engine a step of a run is: its id is `do:charge-1`, after a restart `2/do:charge-1`. */
export function engineStep(id: string): { type: StepType; name: string; count: number } | null {
  const found = /^(?:\d+\/)?(do|sleep|wait_for_event|child):([^]*)-(\d+)$/.exec(id);
  return found ? { type: found[1] as StepType, name: found[2] ?? '', count: Number(found[3]) } : null;
}
