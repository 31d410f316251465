import { expect, test } from 'vitest';
import { SseParser } from './sse';

const STREAM = ': hello\r\n\r\nid: 1-1\r\nevent: snapshot\r\ndata: {"a":1}\r\n\r\nretry: 1500\ndata: one\ndata:two\n\nid: 1-3\rdata: three\r\r';

test('reads types, ids, several data lines, retry and comments, with any line ending', () => {
  const parser = new SseParser();
  expect(parser.push(STREAM + ':end\n')).toEqual([
    { type: 'snapshot', data: '{"a":1}' },
    { type: 'message', data: 'one\ntwo' },
    { type: 'message', data: 'three' },
  ]);
  expect(parser.lastEventId).toBe('1-3');
  expect(parser.retryMs).toBe(1500);
});

test('reads the same wherever the chunks are cut', () => {
  const whole = new SseParser().push(STREAM + '\n');
  for (let cut = 0; cut <= STREAM.length; cut += 1) {
    const parser = new SseParser();
    const parts = [...parser.push(STREAM.slice(0, cut)), ...parser.push(STREAM.slice(cut)), ...parser.push('\n')];
    expect(parts, `cut at ${cut}`).toEqual(whole);
  }
});

test('a message without data is not dispatched, and an id with NULL is ignored', () => {
  const parser = new SseParser();
  expect(parser.push('event: run\nid: a\0b\n\n')).toEqual([]);
  expect(parser.lastEventId).toBe('');
});
