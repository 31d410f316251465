/** Diagrams and steps for the tests. */
import type { Step } from '../model';
import type { DiagramNode, Workflow } from './model';

export function workflow(nodes: DiagramNode[], functions: Workflow['functions'] = {}): Workflow {
  return { class_name: 'Sample', functions, nodes };
}

export function run(name: string, more: Partial<DiagramNode> = {}): DiagramNode {
  return { type: 'step_do', name, nodes: [], ...more };
}

export function step(id: string, name: string, startedMs: number, more: Partial<Step> = {}): Step {
  return {
    id,
    name,
    kind: 'do',
    parent_id: '',
    status: 'completed',
    started_ms: startedMs,
    ended_ms: startedMs + 5,
    duration_ms: 5,
    attempt: 1,
    error: null,
    progress: null,
    attributes: {},
    child_run_id: '',
    attempts: [],
    ...more,
  };
}

/** The sample of implicit parallelism of Cloudflare's article on diagrams. */
export const IMPLICIT_PARALLEL = workflow(
  [
    {
      type: 'parallel',
      kind: 'all',
      nodes: [
        { type: 'function_call', name: 'branchA', starts: 1, resolves: 2 },
        { type: 'function_call', name: 'branchB', starts: 1, resolves: 2 },
      ],
    },
    { type: 'step_sleep', name: 'final sleep', duration: 1000 },
  ],
  {
    branchA: {
      name: 'branchA',
      nodes: [
        {
          type: 'parallel',
          kind: 'all',
          nodes: [
            run('task a', { starts: 1, resolves: 3 }),
            run('task b', { starts: 1, resolves: 3 }),
            { type: 'step_wait_for_event', name: 'task c', options: { event_type: 'my-event', timeout: '1 hour' }, starts: 1, resolves: 2 },
            run('task d', { starts: 2, resolves: 3 }),
          ],
        },
      ],
    },
    branchB: {
      name: 'branchB',
      nodes: [{ type: 'parallel', kind: 'all', nodes: [run('task e', { starts: 1, resolves: 2 }), run('task f', { starts: 1, resolves: 2 })] }],
    },
  },
);
