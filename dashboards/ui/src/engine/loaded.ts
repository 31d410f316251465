const EVERY_MS = 1_000;

/** Load a part of the page, again and again: the collector may be starting anew just now. */
export async function loaded<T>(load: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await load();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  }
}
