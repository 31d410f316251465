export type Tab = 'timeline' | 'diagram' | 'logs' | 'details';

export type Route =
  | { readonly view: 'lobby' }
  | { readonly view: 'alerts' }
  | { readonly view: 'workflows' }
  | { readonly view: 'run'; readonly id: string; readonly tab: Tab; readonly step: string };

const LOBBY_ROUTE: Route = { view: 'lobby' };

/** Read `#/runs/{id}`, `#/runs/{id}/diagram`, `#/runs/{id}/logs`, `#/runs/{id}/details`, `#/runs/{id}/steps/{step}`, `#/alerts`, `#/workflows`; the rest is the lobby. */
export function parseRoute(hash: string): Route {
  const [, root, id, part, step] = hash.replace(/^#/, '').split('/').map(decode);
  if (root === 'alerts' || root === 'workflows') return { view: root };
  if (root !== 'runs' || !id) return LOBBY_ROUTE;
  const tab = part === 'diagram' || part === 'logs' || part === 'details' ? part : 'timeline';
  return { view: 'run', id, tab, step: part === 'steps' ? (step ?? '') : '' };
}

export function lobbyLink(): string {
  return '#/';
}

export function alertsLink(): string {
  return '#/alerts';
}

export function workflowsLink(): string {
  return '#/workflows';
}

export function runLink(id: string, tab: Tab = 'timeline'): string {
  const base = `#/runs/${encodeURIComponent(id)}`;
  return tab === 'timeline' ? base : `${base}/${tab}`;
}

export function stepLink(id: string, step: string): string {
  return `${runLink(id)}/steps/${encodeURIComponent(step)}`;
}

/** Where the page is. Hashes, so that any static path behind any proxy serves every deep link. */
class Router {
  route: Route = $state.raw(parseRoute(globalThis.location?.hash ?? ''));

  listen(): () => void {
    const read = () => (this.route = parseRoute(location.hash));
    window.addEventListener('hashchange', read);
    return () => window.removeEventListener('hashchange', read);
  }

  go(link: string): void {
    location.hash = link;
  }

  /** Without a new entry in the browser's history: for a selection that moves by arrow keys. */
  replace(link: string): void {
    history.replaceState(null, '', link);
    this.route = parseRoute(link);
  }
}

export const router = new Router();

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
