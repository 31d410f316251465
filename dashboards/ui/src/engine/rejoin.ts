import { page } from '../state/page.svelte';
import type { RunRoom } from '../state/run-room.svelte';

const EVERY_MS = 300;
const MOST_TRIES = 100;

/**
 * Join the room of a run again that had ended, and that something was done to.
 *
 * Its feed is over; what was done to it arrives there a moment later, so it is asked until something new was told.
 */
export async function rejoin(room: RunRoom): Promise<void> {
  const before = room.version;
  for (let tries = 0; tries < MOST_TRIES && room.version === before && page.room === room; tries += 1) {
    if (page.connection.state === 'ended') page.retry();
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}
