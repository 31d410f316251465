import { address } from '../api';

/** What Workflow Live's routes answer, as far as it is needed here. */
interface Workflow {
  id: string;
  status: string;
  stages: { id: string }[];
}

const STAGES = ['Initialize', 'Process Data', 'Validate Results', 'Send Notifications', 'Cleanup'];
const LEAST_MS = 1_000;
const MOST_MS = 3_000;
/** Which share of the stages fails. */
const FAILING = 0.1;
const CLEARED = 'Cleared';

/** The sample workflows of this page, played from here through the built-in plugin's routes, as any client would. */
class Sample {
  /** Whether there are any, so that the buttons stay in sight. */
  any = $state(false);
  pending = $state(0);
  problem = $state('');
  #made = 0;
  #waiting: Workflow[] = [];
  /** Ends of what is being played. */
  #playing = new Map<string, () => void>();

  constructor() {
    // Nobody plays on when the page is gone.
    addEventListener('pagehide', () => void this.clear());
  }

  async create() {
    const name = `Sample Workflow ${this.#made + 1}`;
    const workflow = await this.#try('POST', 'workflow/create', { name, stages: STAGES.map((stage) => ({ name: stage })) });
    if (!workflow) return;
    this.#made += 1;
    this.#waiting.push(workflow);
    this.#count();
  }

  /** Play every one that waits, side by side. */
  startAll() {
    for (const workflow of this.#waiting.splice(0)) void this.#play(workflow);
    this.#count();
  }

  /** End what has not ended, and forget all of them here. Their runs stay, in the list and in history. */
  async clear() {
    const open = [...this.#waiting.splice(0).map((workflow) => workflow.id), ...this.#playing.keys()];
    for (const stop of this.#playing.values()) stop();
    this.#playing.clear();
    this.any = false;
    this.pending = 0;
    this.problem = '';
    // Sent at once, not after the stages have noticed: a page that goes away has no later.
    await Promise.all(open.map((id) => this.#complete(id, CLEARED)));
  }

  #count() {
    this.any = true;
    this.pending = this.#waiting.length;
  }

  async #play(workflow: Workflow) {
    let stop: () => void = () => {};
    const stopped = new Promise<typeof CLEARED>((resolve) => (stop = () => resolve(CLEARED)));
    this.#playing.set(workflow.id, stop);
    const error = await this.#stages(workflow, stopped);
    // What was cleared has been ended there. Its requests fail where the page goes away, and must not say otherwise.
    if (this.#playing.delete(workflow.id)) await this.#complete(workflow.id, error);
  }

  /** Run one stage after the other; return what is wrong in the end. */
  async #stages({ id, stages }: Workflow, stopped: Promise<typeof CLEARED>): Promise<string | null> {
    if (!(await this.#try('POST', `workflow/${id}/start`))) return 'Stage failed';
    for (const stage of stages) {
      // Once it is cleared nothing more is said of it: that would set it going again.
      const update = async (updates: object) =>
        this.#playing.has(id) && (await this.#try('PUT', `workflow/${id}/stage`, { stageId: stage.id, updates }));
      if (!(await update({ status: 'running' }))) return 'Stage failed';
      const cleared = await Promise.race([stopped, pause(LEAST_MS + Math.random() * (MOST_MS - LEAST_MS))]);
      if (cleared) return cleared;
      if (Math.random() < FAILING) {
        await update({ status: 'failed', error: 'Simulated failure' });
        return 'Stage failed';
      }
      if (!(await update({ status: 'completed' }))) return 'Stage failed';
    }
    return null;
  }

  #complete(id: string, error: string | null) {
    return this.#try('PUT', `workflow/${id}/complete`, { error });
  }

  /** Send a request; where it fails, say so and return nothing. */
  async #try(method: string, path: string, body?: object): Promise<Workflow | undefined> {
    const headers = { 'Content-Type': 'application/json' };
    const request = { method, headers, body: body ? JSON.stringify(body) : null, keepalive: true };
    const response = await fetch(address(path), request).catch(() => null);
    if (response?.ok) {
      this.problem = '';
      return (await response.json()) as Workflow;
    }
    this.problem = response ? explain(response.status) : 'The collector cannot be reached.';
    return undefined;
  }
}

function explain(status: number): string {
  return status === 404 || status === 405
    ? 'The plugin workflow_live does not answer; it may be blocked in the configuration.'
    : `The collector answered ${status}.`;
}

function pause(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), ms));
}

export const sample = new Sample();
