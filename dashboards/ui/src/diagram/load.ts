import { address } from '../api';
import type { DiagramAnswer, SourceAnswer } from './model';

/** The diagram of a run's version, else the newest of its workflow. */
export async function fetchDiagram(workflow: string, runId: string): Promise<DiagramAnswer> {
  return get<DiagramAnswer>(`api/v1/workflows/${encodeURIComponent(workflow)}/diagram?run=${encodeURIComponent(runId)}`);
}

export async function fetchSource(workflow: string, version: string): Promise<SourceAnswer> {
  return get<SourceAnswer>(`api/v1/workflows/${encodeURIComponent(workflow)}/source?version=${encodeURIComponent(version)}`);
}

async function get<T>(path: string): Promise<T> {
  const response = await fetch(address(path)).catch(() => null);
  if (!response) throw new Error('The collector cannot be reached.');
  if (!response.ok) throw new Error(`The collector answered ${response.status}.`);
  return (await response.json()) as T;
}
