/** One dispatched message of an event stream. */
export interface SseMessage {
  readonly type: string;
  readonly data: string;
}

/**
 * Reads `text/event-stream` as the HTML standard says ("interpreting an event stream"), in chunks cut anywhere.
 *
 * `lastEventId` and `retryMs` are what the stream has said so far; comments only show that it is alive.
 */
export class SseParser {
  lastEventId = '';
  retryMs: number | null = null;

  #rest = '';
  #afterReturn = false;
  #type = '';
  #data: string[] = [];

  push(chunk: string): SseMessage[] {
    const messages: SseMessage[] = [];
    let text = chunk;
    // A CRLF may be cut in two; its LF must not count as an empty line.
    if (this.#afterReturn && text.startsWith('\n')) text = text.slice(1);
    if (chunk) this.#afterReturn = chunk.endsWith('\r');
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const message = line === '' ? this.#dispatch() : this.#field(line);
      if (message) messages.push(message);
    }
    return messages;
  }

  #field(line: string): null {
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'data') this.#data.push(value);
    else if (name === 'event') this.#type = value;
    else if (name === 'id' && !value.includes('\0')) this.lastEventId = value;
    else if (name === 'retry' && /^\d+$/.test(value)) this.retryMs = Number(value);
    return null;
  }

  #dispatch(): SseMessage | null {
    const message = this.#data.length ? { type: this.#type || 'message', data: this.#data.join('\n') } : null;
    this.#type = '';
    this.#data = [];
    return message;
  }
}
