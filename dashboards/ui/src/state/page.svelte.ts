import { feedAddress } from '../api';
import { type Connection, Feed } from '../feed/feed';
import { LobbyView } from '../lobby/view.svelte';
import { type FeedData, LOBBY } from '../model';
import { clock } from './clock.svelte';
import { LobbyRoom } from './lobby-room.svelte';
import { places } from './places.svelte';
import { RunRoom } from './run-room.svelte';

/**
 * What the page watches, over one stream at a time: browsers allow six connections per server, over all tabs.
 *
 * Only the room that is on screen is joined, so what the stream says (404, 204, its end) is about that room.
 */
class Page {
  connection: Connection = $state.raw({ state: 'connecting' });
  room: RunRoom | null = $state.raw(null);
  readonly lobby = new LobbyRoom();
  readonly lobbyView = new LobbyView();
  /** Whether what is shown may be out of date. */
  readonly stale = $derived(this.connection.state === 'reconnecting' || this.connection.state === 'gone');

  #feed: Feed | null = null;

  watchLobby(): () => void {
    return this.#open(LOBBY, this.lobby);
  }

  watchRun(room: RunRoom): () => void {
    this.room = room;
    return this.#open(room.id, room);
  }

  retry(): void {
    this.#feed?.retry();
  }

  #connected(connection: Connection): void {
    if (this.stale && connection.state === 'live') void places.ask();
    this.connection = connection;
    clock.hold(this.stale);
  }

  /** Join the room; returns how to leave it. A page put aside by the browser ("back") holds no connection. */
  #open(name: string, room: LobbyRoom | RunRoom): () => void {
    const open = () => {
      this.#feed = new Feed(feedAddress(name), {
        connection: (connection) => this.#connected(connection),
        date: (header) => clock.learn(header),
        message: (type: string, data: FeedData) => room.take(type, data),
        complete: () => room instanceof RunRoom && room.complete(),
      });
    };
    const reopen = (event: PageTransitionEvent) => {
      if (event.persisted) open();
    };
    const close = () => this.#feed?.close();
    open();
    window.addEventListener('pagehide', close);
    window.addEventListener('pageshow', reopen);
    return () => {
      window.removeEventListener('pagehide', close);
      window.removeEventListener('pageshow', reopen);
      close();
      room.close();
    };
  }
}

export const page = new Page();
