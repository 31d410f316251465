import type { RunStatus } from '../model';

/** What the reader has set up in the lobby; it is there again when they come back from a run. */
export class LobbyView {
  text = $state('');
  status: RunStatus | '' = $state('');
  /** The run that the keyboard is on. */
  activeId = $state('');
  /** Where the next page of history starts; null before the first. */
  cursor: string | null = $state(null);
  /** Whether history has no more. */
  exhausted = $state(false);

  /** History is asked anew, for what is looked for now. */
  startOver(): void {
    this.cursor = null;
    this.exhausted = false;
  }

  clear(): void {
    this.text = '';
    this.status = '';
    this.startOver();
  }
}
