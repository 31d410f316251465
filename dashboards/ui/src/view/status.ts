import type { Status } from '../model';
import type { IconName } from './icons';

export interface StatusLook {
  readonly word: string;
  readonly icon: IconName;
  /** Which of the colours in tokens.css. */
  readonly tone: 'running' | 'waiting' | 'good' | 'bad' | 'quiet';
}

const LOOKS: Readonly<Record<Status, StatusLook>> = {
  pending: { word: 'Pending', icon: 'pending', tone: 'quiet' },
  queued: { word: 'Queued', icon: 'pending', tone: 'quiet' },
  running: { word: 'Running', icon: 'running', tone: 'running' },
  waiting: { word: 'Waiting', icon: 'waiting', tone: 'waiting' },
  paused: { word: 'Paused', icon: 'paused', tone: 'waiting' },
  completed: { word: 'Completed', icon: 'completed', tone: 'good' },
  failed: { word: 'Failed', icon: 'failed', tone: 'bad' },
  terminated: { word: 'Terminated', icon: 'terminated', tone: 'bad' },
  skipped: { word: 'Skipped', icon: 'skipped', tone: 'quiet' },
};

/** What a run left behind that has itself ended: nobody will tell how these went on. */
const LEFT: Partial<Record<Status, StatusLook>> = {
  running: { word: 'Did not end', icon: 'pending', tone: 'quiet' },
  waiting: { word: 'Did not end', icon: 'pending', tone: 'quiet' },
  pending: { word: 'Did not start', icon: 'pending', tone: 'quiet' },
};

/** How a status looks, in a run that is over or not; one that this page is too old to know is shown by its own word. */
export function lookOf(status: Status, over = false): StatusLook {
  return (over && LEFT[status]) || LOOKS[status] || { word: status, icon: 'pending', tone: 'quiet' };
}
