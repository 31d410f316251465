/** Rules as the collector tells them, and as a form has them: texts by key, `match.workflow` for what lies deeper. */

export type Table = Readonly<Record<string, unknown>>;
export type Values = Record<string, string>;

export interface FieldError {
  readonly place: readonly string[];
  readonly message: string;
}

export interface Rule {
  readonly name: string;
  readonly source: 'built in' | 'configuration' | 'page';
  readonly enabled: boolean;
  readonly holds: boolean;
  readonly problem: string;
  readonly by: string;
  readonly changed: number;
  /** `built in` where it takes the place of a built-in one. */
  readonly replaces: string;
  readonly rule: Table;
  readonly severity?: string;
  readonly receivers?: readonly string[];
  readonly meaning?: string;
}

export interface RuleList {
  readonly rules: readonly Rule[];
  readonly kinds: Readonly<Record<string, { readonly takes: readonly string[]; readonly needs: readonly string[] }>>;
  readonly receivers: readonly string[];
}

export interface FieldText {
  readonly label: string;
  readonly hint: string;
  readonly lines?: number;
}

/** What a rule can wait for, in words. A plugin's own conditions have none. */
export const KINDS: Readonly<Record<string, string>> = {
  run_failed: 'A run fails',
  step_failed: 'A step fails and is not tried again',
  run_too_long: 'A run takes too long',
  step_too_long: 'A step takes too long',
  stuck: 'A run is silent',
  waiting: 'A run waits for an answer',
  error_rate: 'Too many runs fail',
  missed: 'A run does not start when it should',
  heartbeat: 'A workflow is not heard of',
  sql: 'A question to history has rows',
};

const SPAN = 'Such as 90s, 5m or 1h30m.';

export const FIELDS: Readonly<Record<string, FieldText>> = {
  longer_than: { label: 'Longer than', hint: `${SPAN} Empty: what is unusual.` },
  silent_for: { label: 'Silent for', hint: `${SPAN} Empty: what is unusual.` },
  above: { label: 'Part that fails', hint: 'Such as 0.2 for 20%.' },
  window: { label: 'Within', hint: `${SPAN} Empty: 1h.` },
  at_least: { label: 'Of at least', hint: 'So many runs. Empty: 5.' },
  cron: { label: 'Schedule', hint: 'Five fields of cron, such as 0 3 * * *. Empty: as it usually starts.' },
  timezone: { label: 'Time zone', hint: 'Such as Europe/Berlin. Empty: UTC.' },
  every: { label: 'Or every', hint: `${SPAN} Instead of a schedule.` },
  grace: { label: 'May be late by', hint: `${SPAN} Empty: 1m.` },
  within: { label: 'Heard of within', hint: SPAN },
  sql: { label: 'Question in SQL', hint: 'Each row of the answer is an alert; its texts are labels.', lines: 4 },
  evaluate: { label: 'Asked every', hint: `${SPAN} Empty: 1m.` },
  options: { label: 'Options', hint: 'JSON, as the plugin says. Whoever sees this page sees them.', lines: 3 },
  'match.workflow': { label: 'Workflow', hint: 'Such as billing*; a ! before one means not. Commas between several.' },
  'match.step': { label: 'Step', hint: '' },
  'match.service': { label: 'Service', hint: '' },
  'match.attributes': { label: 'Attributes', hint: 'One in a line, such as team=payments.', lines: 2 },
  for: { label: 'For at least', hint: `${SPAN} Empty: at once; a failed step 1m.` },
  summary: { label: 'What is said', hint: 'Such as {workflow} failed: {error}. Empty: the usual sentence.' },
  keep_firing_for: { label: 'Goes on firing for', hint: `${SPAN} After it is over.` },
  resolve_after: { label: 'Is over after', hint: `${SPAN} Where nothing more is heard of it. Empty: 1d.` },
  labels: { label: 'Labels', hint: 'One in a line, such as team=payments.', lines: 2 },
};

const OF_MATCH = ['match.workflow', 'match.step', 'match.service', 'match.attributes'];
const OF_ALL = ['when', 'severity', 'for', 'summary', 'keep_firing_for', 'resolve_after', 'labels', ...OF_MATCH];
const NUMBERS = new Set(['above', 'at_least']);
const PAIRS = new Set(['match.attributes', 'labels']);

/** The texts of a form for a rule. */
export function valuesOf(table: Table): Values {
  const found: Values = {};
  for (const [key, value] of Object.entries(table)) {
    if (key === 'match') {
      for (const [name, patterns] of Object.entries(value as Table)) {
        found[`match.${name}`] = name === 'attributes' ? pairsText(patterns as Table) : listText(patterns);
      }
    } else if (key === 'labels') found[key] = pairsText(value as Table);
    else if (key === 'options') found[key] = JSON.stringify(value, null, 2);
    else if (key !== 'receivers') found[key] = isSpan(key, value) ? `${value}s` : String(value);
  }
  return found;
}

/** The rule that a form says: of its texts those that are not empty, and that a rule of this kind takes. */
export function tableOf(values: Values, takes: readonly string[], receivers: readonly string[] | null): Table {
  const table: Record<string, unknown> = {};
  const match: Record<string, unknown> = {};
  for (const key of [...OF_ALL, ...takes]) {
    const text = (values[key] ?? '').trim();
    if (!text) continue;
    const value = valueOf(key, text);
    if (key.startsWith('match.')) match[key.slice('match.'.length)] = value;
    else table[key] = value;
  }
  if (Object.keys(match).length) table.match = match;
  if (receivers) table.receivers = receivers;
  return table;
}

/** What is wrong, by the field beside which it is said; '' is said of the whole. */
export function errorsByField(errors: readonly FieldError[], fields: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { place, message } of errors) {
    const key = place.join('.');
    const field = fields.filter((each) => key === each || key.startsWith(`${each}.`)).sort((a, b) => b.length - a.length)[0] ?? '';
    found[field] = found[field] ? `${found[field]}; ${message}` : message;
  }
  return found;
}

function valueOf(key: string, text: string): unknown {
  if (PAIRS.has(key)) return pairsOf(text);
  if (key.startsWith('match.')) {
    const patterns = text.split(',').map((each) => each.trim()).filter(Boolean);
    return patterns.length === 1 ? patterns[0] : patterns;
  }
  if (key === 'options') return json(text);
  const number = Number(text);
  return NUMBERS.has(key) && !Number.isNaN(number) ? number : text;
}

/** A line without `=` is kept as a name without a value: the collector says what is wrong with it. */
function pairsOf(text: string): Record<string, string> {
  const lines = text.split('\n').map((line) => line.trim()).filter(Boolean);
  return Object.fromEntries(
    lines.map((line) => {
      const [name = '', ...rest] = line.split('=');
      return [name.trim(), rest.join('=').trim()];
    }),
  );
}

function json(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function pairsText(table: Table): string {
  return Object.entries(table).map(([name, value]) => `${name}=${listText(value)}`).join('\n');
}

function listText(value: unknown): string {
  return Array.isArray(value) ? value.join(', ') : String(value);
}

/** Built-in rules have their spans in seconds. */
function isSpan(key: string, value: unknown): boolean {
  return typeof value === 'number' && !NUMBERS.has(key);
}
