import { expect, test } from 'vitest';
import type { FeedData } from '../model';
import { backoffMs, retryAfterMs } from './backoff';
import { type Connection, CONNECT_MS, Feed, SILENCE_MS } from './feed';

/** A collector and a clock in the test's hands. */
class Stage {
  now = 1_000_000;
  requests: { headers: Record<string, string>; signal: AbortSignal; answer: (response: Response) => void; fail: () => void }[] = [];
  connections: Connection[] = [];
  messages: [string, FeedData][] = [];
  completed = false;
  #timers = new Map<number, { at: number; run: () => void }>();
  #ids = 0;

  open(): Feed {
    return new Feed(
      'feed',
      {
        connection: (connection) => this.connections.push(connection),
        date: () => undefined,
        message: (type, data) => this.messages.push([type, data]),
        complete: () => this.completed,
      },
      {
        fetch: (_url, init) =>
          new Promise((resolve, reject) => {
            const fail = () => reject(new TypeError('refused'));
            init.signal?.addEventListener('abort', fail);
            const headers = init.headers as Record<string, string>;
            this.requests.push({ headers, signal: init.signal as AbortSignal, answer: resolve, fail });
          }),
        now: () => this.now,
        random: () => 1,
        setTimeout: (run, ms) => {
          this.#timers.set((this.#ids += 1), { at: this.now + ms, run });
          return this.#ids;
        },
        clearTimeout: (id) => this.#timers.delete(id),
      },
    );
  }

  get last() {
    const request = this.requests.at(-1);
    if (!request) throw new Error('nothing was asked');
    return request;
  }

  get connection() {
    return this.connections.at(-1);
  }

  async pass(ms: number) {
    this.now += ms;
    for (const [id, { at, run }] of [...this.#timers]) {
      if (at > this.now) continue;
      this.#timers.delete(id);
      run();
    }
    await settle();
  }

  async stream() {
    let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
    const { signal } = this.last;
    const body = new ReadableStream<Uint8Array>({ start: (given) => (controller = given) });
    signal.addEventListener('abort', () => controller?.error(new DOMException('aborted', 'AbortError')));
    this.last.answer(new Response(body, { status: 200 }));
    await settle();
    return {
      say: async (text: string) => (controller?.enqueue(new TextEncoder().encode(text)), settle()),
      end: async () => (controller?.close(), settle()),
      break: async () => (controller?.error(new TypeError('reset')), settle()),
    };
  }
}

async function settle() {
  for (let n = 0; n < 20; n += 1) await Promise.resolve();
  await new Promise((resolve) => setTimeout(resolve, 0));
}

test('connects, is live, and hands over messages in order', async () => {
  const stage = new Stage();
  stage.open();
  expect(stage.connection).toEqual({ state: 'connecting' });
  const stream = await stage.stream();
  await stream.say('id: 1-1\nevent: snapshot\ndata: {"room":"r"}\n\nid: 1-2\nevent: log\ndata: {"room":"r","run_id":"x"}\n\n');
  expect(stage.connection).toEqual({ state: 'live' });
  expect(stage.messages).toEqual([
    ['snapshot', { room: 'r' }],
    ['log', { room: 'r', run_id: 'x' }],
  ]);
});

test('resumes after a loss from the last id, and says which try comes when', async () => {
  const stage = new Stage();
  stage.open();
  const stream = await stage.stream();
  await stream.say('id: 7-42\nevent: snapshot\ndata: {}\n\n');
  await stream.break();
  expect(stage.connection).toEqual({ state: 'reconnecting', attempt: 1, retryAt: stage.now + 500 });
  await stage.pass(500);
  expect(stage.connection).toEqual({ state: 'reconnecting', attempt: 1, retryAt: 0 });
  expect(stage.last.headers['Last-Event-ID']).toBe('7-42');
  stage.last.fail();
  await settle();
  expect(stage.connection).toEqual({ state: 'reconnecting', attempt: 2, retryAt: stage.now + 1000 });
});

test('a stream that opens and breaks at once is tried more and more slowly', async () => {
  const stage = new Stage();
  stage.open();
  for (const wait of [500, 1000, 2000]) {
    await (await stage.stream()).break();
    expect(stage.connection).toMatchObject({ retryAt: stage.now + wait });
    await stage.pass(wait);
  }
});

test('silence is a loss; a comment is a sign of life', async () => {
  const stage = new Stage();
  stage.open();
  const stream = await stage.stream();
  await stage.pass(SILENCE_MS - 1);
  await stream.say(': still here\n\n');
  await stage.pass(SILENCE_MS - 1);
  expect(stage.connection).toEqual({ state: 'live' });
  await stage.pass(1);
  expect(stage.connection).toMatchObject({ state: 'reconnecting', attempt: 1 });
});

test('a collector that takes the connection and never answers is given up', async () => {
  const stage = new Stage();
  stage.open();
  await stage.pass(CONNECT_MS);
  expect(stage.connection).toMatchObject({ state: 'reconnecting', attempt: 1 });
});

test('204 ends it; so does a clean end of a stream whose run has ended', async () => {
  const stage = new Stage();
  stage.open();
  stage.last.answer(new Response(null, { status: 204 }));
  await settle();
  expect(stage.connection).toEqual({ state: 'ended' });

  const other = new Stage();
  other.open();
  const stream = await other.stream();
  other.completed = true;
  await stream.end();
  expect(other.connection).toEqual({ state: 'ended' });
});

test('a collector that restarts is not mistaken for the end of the run', async () => {
  const stage = new Stage();
  stage.open();
  const stream = await stage.stream();
  stage.completed = true;
  await stream.say('event: restarting\ndata: {}\n\n');
  await stream.end();
  expect(stage.connection).toMatchObject({ state: 'reconnecting', attempt: 1 });
});

test('404 is gone, and is looked for again; 401 waits for the reader', async () => {
  const stage = new Stage();
  stage.open();
  stage.last.answer(new Response(null, { status: 404 }));
  await settle();
  expect(stage.connection).toMatchObject({ state: 'gone', reason: 'unknown', status: 404 });
  await stage.pass(3_000);
  stage.last.answer(new Response(null, { status: 401 }));
  await settle();
  expect(stage.connection).toEqual({ state: 'gone', reason: 'refused', status: 401, retryAt: 0 });
  expect(stage.requests).toHaveLength(2);
  await stage.pass(3_600_000);
  expect(stage.requests).toHaveLength(2);
});

test('503 waits at least as long as Retry-After says', async () => {
  const stage = new Stage();
  stage.open();
  stage.last.answer(new Response(null, { status: 503, headers: { 'Retry-After': '7' } }));
  await settle();
  expect(stage.connection).toEqual({ state: 'reconnecting', attempt: 1, retryAt: stage.now + 7_000 });
});

test('a message that cannot be read starts over from a snapshot instead of leaving a gap', async () => {
  const stage = new Stage();
  stage.open();
  const stream = await stage.stream();
  await stream.say('id: 1-1\nevent: snapshot\ndata: {}\n\n');
  await stream.say('id: 1-2\nevent: log\ndata: {"half\n\n');
  expect(stage.connection).toMatchObject({ state: 'reconnecting' });
  expect(stage.last.signal.aborted).toBe(true);
  await stage.pass(10_000);
  expect(stage.last.headers).not.toHaveProperty('Last-Event-ID');
});

test('retry() goes at once and close() for good', async () => {
  const stage = new Stage();
  const feed = stage.open();
  await (await stage.stream()).break();
  feed.retry();
  expect(stage.requests).toHaveLength(2);
  feed.close();
  await settle();
  const said = stage.connections.length;
  await stage.pass(60_000);
  expect(stage.requests).toHaveLength(2);
  expect(stage.connections).toHaveLength(said);
});

test('waits double from half a second to ten seconds, half of it by chance', () => {
  expect([1, 2, 3, 4, 5, 6, 60].map((n) => backoffMs(n, () => 1))).toEqual([500, 1000, 2000, 4000, 8000, 10000, 10000]);
  expect(backoffMs(3, () => 0)).toBe(1000);
  expect(['5', '', 'soon', '9999', null].map(retryAfterMs)).toEqual([5000, 0, 0, 60000, 0]);
});
