/* Made by dashboards/grafana/generate.py. */

export const UIDS = {
  overview: 'stagelight-overview',
  workflow: 'stagelight-workflow',
  run: 'stagelight-run',
  steps: 'stagelight-steps',
  collector: 'stagelight-collector',
} as const;

/** The variables of each dashboard. */
export interface Variables {
  readonly overview: 'datasource' | 'stagelight' | 'workflow';
  readonly workflow: 'datasource' | 'stagelight' | 'workflow';
  readonly run: 'datasource' | 'stagelight' | 'run';
  readonly steps: 'datasource' | 'stagelight' | 'workflow';
  readonly collector: 'datasource' | 'stagelight';
}
