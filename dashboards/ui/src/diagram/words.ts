import { duration, runningDuration } from '../view/format';
import type { IconName } from '../view/icons';
import type { DiagramNode } from './model';
import { isStep, type Place } from './places';

/** What a place is called on the diagram. */
export function titleOf(node: DiagramNode): string {
  switch (node.type) {
    case 'if':
      return node.branches?.[0]?.condition ?? 'if';
    case 'switch':
      return node.discriminant ?? 'switch';
    case 'loop':
      return loopTitle(node);
    case 'parallel':
      return PARALLEL[node.kind ?? 'all'] ?? 'in parallel';
    case 'try':
      return 'try';
    case 'block':
      return 'block';
    case 'break':
      return node.kind === 'return' ? 'return' : node.kind === 'continue' ? 'continue' : 'break';
    case 'function_call':
      return `${node.name ?? 'anonymous'}()`;
    default:
      return node.name?.replaceAll('${...}', '…') || 'unnamed';
  }
}

const PARALLEL: Readonly<Record<string, string>> = {
  all: 'in parallel',
  all_settled: 'in parallel, until all are done',
  any: 'in parallel, until one succeeds',
  race: 'in parallel, until one is done',
};

function loopTitle(node: DiagramNode): string {
  const { kind = '', over = '', condition = '' } = node.loop ?? {};
  if (/^while/.test(kind)) return `while ${condition || over || '…'}`;
  if (/^do/.test(kind)) return `repeat while ${condition || over || '…'}`;
  if (over) return `for each of ${over}`;
  return condition ? `while ${condition}` : 'loop';
}

/** The small line below a step's name: what it waits for, or how long. */
export function detailOf(node: DiagramNode): string {
  switch (node.type) {
    case 'step_sleep':
      return `sleep ${lengthOf(node.duration)}`.trim();
    case 'step_sleep_until':
      return 'sleep until a time';
    case 'step_wait_for_event': {
      const timeout = lengthOf(node.options?.timeout);
      return [`event ${node.options?.event_type ?? ''}`.trim(), timeout && `at most ${timeout}`].filter(Boolean).join(', ');
    }
    default:
      return '';
  }
}

function lengthOf(value: number | string | undefined): string {
  if (typeof value === 'number') return value > 0 ? duration(value) : '';
  return value && !/^(unknown|generated)$/i.test(value) ? value : '';
}

/** What the place is, for those who hear the page. */
export function roleOf(place: Place): string {
  if (isStep(place.node)) return place.node.type === 'step_do' ? 'step' : place.node.type.replace('step_', '').replaceAll('_', ' ');
  return place.node.type.replaceAll('_', ' ');
}

/** Cut at the end: a message says the most at its beginning. */
export function cutAt(text: string, most: number): string {
  const letters = [...text.slice(0, most * 4)];
  return letters.length <= most ? text : `${letters.slice(0, most - 1).join('')}…`;
}

/** Cut in the middle, where names of one family differ least. */
export function shortened(text: string, most: number): string {
  const flat = text.replace(/\s+/g, ' ');
  const letters = [...flat];
  if (letters.length <= most) return flat;
  const tail = Math.floor(most / 3);
  return `${letters.slice(0, most - tail - 1).join('')}…${letters.slice(letters.length - tail).join('')}`;
}

/** The icon of a place where nothing has happened yet. */
export function iconOf(node: DiagramNode | undefined): IconName {
  switch (node?.type) {
    case 'step_sleep':
    case 'step_sleep_until':
      return 'waiting';
    case 'step_wait_for_event':
      return 'follow';
    case 'function_call':
      return 'function';
    default:
      return 'dot';
  }
}

/** How long a place took, or has been running. */
export function ranFor(mark: { startedMs: number | null; endedMs: number | null }, running: boolean, now: number): string {
  if (mark.startedMs === null) return '';
  if (mark.endedMs !== null) return duration(mark.endedMs - mark.startedMs);
  return running ? runningDuration(now - mark.startedMs) : '';
}
