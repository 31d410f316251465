import { address } from '../api';
import type { FieldError, RuleList } from './rules';

export interface Alert {
  readonly fingerprint: string;
  readonly rule: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly notes: Readonly<Record<string, string>>;
  readonly since: number;
  readonly fired: number;
  readonly ended: number;
  readonly count: number;
  readonly acked: string;
  readonly status: 'pending' | 'firing' | 'resolved';
  readonly run: string;
  readonly muted: string;
}

export interface Receiver {
  readonly name: string;
  readonly type: string;
  readonly address: string;
  readonly waiting: number;
  readonly disabled: string;
}

export interface Delivery {
  readonly id: string;
  readonly receiver: string;
  readonly state: 'waiting' | 'sent' | 'failed';
  readonly tries: number;
  readonly due: number;
  readonly created: number;
  readonly problem: string;
  readonly title: string;
}

export interface Silence {
  readonly id: string;
  readonly match: Readonly<Record<string, string>>;
  readonly ends: number;
  readonly by: string;
  readonly comment: string;
  readonly active: boolean;
}

export interface Overview {
  readonly alerts: readonly Alert[];
  /** How many there are beside these. */
  readonly left_out: number;
  readonly receivers: readonly Receiver[];
  readonly problems: readonly string[];
}

export interface Everything extends Overview {
  readonly deliveries: readonly Delivery[];
  readonly silences: readonly Silence[];
  readonly rules: RuleList;
}

/** What the collector refused: a sentence, and what is wrong with each field. */
export class Refused extends Error {
  readonly errors: readonly FieldError[];

  constructor(detail: string, errors: readonly FieldError[] = []) {
    super(detail);
    this.errors = errors;
  }
}

/** All that the page shows. Rejects with a message that can be shown. */
export async function fetchAll(): Promise<Everything> {
  const [overview, { deliveries }, { silences }, rules] = await Promise.all([
    ask<Overview>('GET', 'alerts'),
    ask<{ deliveries: Delivery[] }>('GET', 'deliveries?state=waiting,failed&limit=50'),
    ask<{ silences: Silence[] }>('GET', 'silences'),
    ask<RuleList>('GET', 'rules'),
  ]);
  return { ...overview, deliveries: deliveries.filter((each) => each.problem), silences, rules };
}

/** Ask a route of alerting. Rejects with a message that can be shown. */
export async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { 'Content-Type': 'application/json' };
  }
  const response = await fetch(address(`-/alerting/${path}`), init).catch(() => null);
  if (!response) throw new Error('The collector cannot be reached.');
  const answer = (await response.json().catch(() => ({}))) as { detail?: string; errors?: FieldError[] };
  if (response.status === 404 && !answer.detail) throw new Error('Alerting is switched off on this collector.');
  if (!response.ok) throw new Refused(answer.detail ?? `The collector answered ${response.status}.`, answer.errors);
  return answer as T;
}
