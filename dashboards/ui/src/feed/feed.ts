import type { FeedData } from '../model';
import { backoffMs, retryAfterMs } from './backoff';
import { SseParser } from './sse';

/**
 * What is true of the connection, for the badge.
 *
 * - `connecting`: the first try is under way.
 * - `live`: the stream is open and was heard from within `SILENCE_MS`.
 * - `reconnecting`: lost; the try number `attempt` starts at `retryAt` (0 while it is under way).
 * - `gone`: the collector answered, but not with a stream; `reason` says why. Tried again, slowly, while `retryAt` is set.
 * - `ended`: the run has ended and all was sent; nothing more will come.
 */
export type Connection =
  | { readonly state: 'connecting' | 'live' | 'ended' }
  | { readonly state: 'reconnecting'; readonly attempt: number; readonly retryAt: number }
  | { readonly state: 'gone'; readonly reason: 'unknown' | 'refused'; readonly status: number; readonly retryAt: number };

export interface FeedListener {
  connection(connection: Connection): void;
  /** The `Date` header of each answer. */
  date(header: string | null): void;
  /** One message, already read; called in order, many times in a row. */
  message(type: string, data: FeedData): void;
  /** Whether everything that the rooms stand for has ended, so that a stream that closes cleanly is complete. */
  complete(): boolean;
}

/** What the feed needs of its surroundings; tests bring their own. */
export interface Surroundings {
  fetch(url: string, init: RequestInit): Promise<Response>;
  now(): number;
  random(): number;
  setTimeout(callback: () => void, ms: number): number;
  clearTimeout(id: number): void;
}

/** Twice the collector's comment interval, and some. A stream that is silent for longer is dead. */
export const SILENCE_MS = 40_000;
export const CONNECT_MS = 10_000;
const UNKNOWN_RETRY_MS = 3_000;

const browser: Surroundings = {
  fetch: (url, init) => fetch(url, init),
  now: () => Date.now(),
  random: () => Math.random(),
  setTimeout: (callback, ms) => window.setTimeout(callback, ms),
  clearTimeout: (id) => window.clearTimeout(id),
};

/**
 * One stream for the rooms of one page, kept open until `close()`.
 *
 * Not an `EventSource`: that hides attempts, status codes and silence, and the badge must not lie about them.
 */
export class Feed {
  #abort = new AbortController();
  #timer = 0;
  #silence = 0;
  #attempt = 0;
  #lastEventId = '';
  #floorMs = 0;
  #restarting = false;
  #closed = false;

  constructor(
    readonly url: string,
    readonly listener: FeedListener,
    readonly around: Surroundings = browser,
  ) {
    listener.connection({ state: 'connecting' });
    void this.#connect();
  }

  close(): void {
    this.#closed = true;
    this.#stop();
  }

  /** Try now instead of at `retryAt`. */
  retry(): void {
    if (this.#closed) return;
    this.#stop();
    void this.#connect();
  }

  #stop(): void {
    this.#abort.abort();
    this.around.clearTimeout(this.#timer);
    this.around.clearTimeout(this.#silence);
  }

  async #connect(): Promise<void> {
    const abort = new AbortController();
    this.#abort = abort;
    if (this.#attempt) this.listener.connection({ state: 'reconnecting', attempt: this.#attempt, retryAt: 0 });
    this.#expectSound(abort, CONNECT_MS);
    let outcome: () => void;
    try {
      outcome = await this.#stream(abort);
    } catch {
      abort.abort();
      outcome = () => this.#lost();
    }
    // An aborted try was replaced by another, unless silence ended it.
    if (this.#closed || this.#abort !== abort) return;
    this.around.clearTimeout(this.#silence);
    outcome();
  }

  /** Read one connection to its end, and return what follows from it. */
  async #stream(abort: AbortController): Promise<() => void> {
    const headers: Record<string, string> = { Accept: 'text/event-stream' };
    if (this.#lastEventId) headers['Last-Event-ID'] = this.#lastEventId;
    const response = await this.around.fetch(this.url, { headers, signal: abort.signal, cache: 'no-store' });
    this.listener.date(response.headers.get('Date'));
    if (response.status === 204) return () => this.listener.connection({ state: 'ended' });
    if (response.status === 404) return () => this.#gone('unknown', 404, UNKNOWN_RETRY_MS);
    if (response.status === 401 || response.status === 403) return () => this.#gone('refused', response.status, 0);
    if (response.status !== 200 || !response.body) {
      this.#floorMs = retryAfterMs(response.headers.get('Retry-After'));
      return () => this.#lost();
    }
    this.#restarting = false;
    this.listener.connection({ state: 'live' });
    this.#expectSound(abort, SILENCE_MS);
    await this.#read(response.body, abort);
    if (!this.#restarting && this.listener.complete()) return () => this.listener.connection({ state: 'ended' });
    return () => this.#lost();
  }

  async #read(body: ReadableStream<Uint8Array>, abort: AbortController): Promise<void> {
    const parser = new SseParser();
    const decoder = new TextDecoder();
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || abort.signal.aborted) return;
      this.#expectSound(abort, SILENCE_MS);
      // Not when the stream opened: one that opens and breaks at once must be tried more and more slowly.
      this.#attempt = 0;
      for (const { type, data } of parser.push(decoder.decode(value, { stream: true }))) this.#message(type, data);
      if (parser.lastEventId) this.#lastEventId = parser.lastEventId;
      if (parser.retryMs !== null) this.#floorMs = Math.min(parser.retryMs, 5_000);
    }
  }

  #message(type: string, data: string): void {
    if (type === 'restarting') {
      this.#restarting = true;
      return;
    }
    try {
      this.listener.message(type, JSON.parse(data) as FeedData);
    } catch (error) {
      // A message that was not taken in would leave a silent gap: start over from a snapshot.
      this.#lastEventId = '';
      throw error;
    }
  }

  #expectSound(abort: AbortController, ms: number): void {
    this.around.clearTimeout(this.#silence);
    this.#silence = this.around.setTimeout(() => abort.abort(), ms);
  }

  #lost(): void {
    this.#attempt += 1;
    const wait = Math.max(backoffMs(this.#attempt, this.around.random), this.#floorMs);
    this.#floorMs = 0;
    this.listener.connection({
      state: 'reconnecting',
      attempt: this.#attempt,
      retryAt: this.around.now() + wait,
    });
    this.#timer = this.around.setTimeout(() => void this.#connect(), wait);
  }

  /** A room that is not there may be about to open: its link is printed before its first event arrives. */
  #gone(reason: 'unknown' | 'refused', status: number, wait: number): void {
    const retryAt = wait ? this.around.now() + wait : 0;
    this.#attempt = 0;
    // What was seen before belongs to another life of the collector.
    this.#lastEventId = '';
    this.listener.connection({ state: 'gone', reason, status, retryAt });
    if (wait) this.#timer = this.around.setTimeout(() => void this.#connect(), wait);
  }
}
