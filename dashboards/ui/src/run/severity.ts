import type { LogLine } from '../model';

export interface SeverityLook {
  readonly word: string;
  readonly level: number;
  readonly tone: 'plain' | 'warn' | 'bad';
}

const LOOKS: readonly (readonly [pattern: RegExp, look: SeverityLook])[] = [
  [/^(fatal|crit)/i, { word: 'FATAL', level: 5, tone: 'bad' }],
  [/^err/i, { word: 'ERROR', level: 4, tone: 'bad' }],
  [/^warn/i, { word: 'WARN', level: 3, tone: 'warn' }],
  [/^(debug|trace)/i, { word: 'DEBUG', level: 1, tone: 'plain' }],
];
const INFO: SeverityLook = { word: 'INFO', level: 2, tone: 'plain' };

/** How a severity looks: senders write `WARN`, `warning`, `ERROR2`, or nothing. */
export function severityOf(severity: string): SeverityLook {
  return LOOKS.find(([pattern]) => pattern.test(severity))?.[1] ?? INFO;
}

/** The lines of at least this level that hold the text. All of them are a fresh list, so that growth is seen. */
export function filterLogs(lines: readonly LogLine[], text: string, least: number): LogLine[] {
  const wanted = text.trim().toLowerCase();
  if (!wanted && !least) return [...lines];
  return lines.filter(
    (line) =>
      (!least || severityOf(line.severity).level >= least) && (!wanted || line.message.toLowerCase().includes(wanted)),
  );
}
