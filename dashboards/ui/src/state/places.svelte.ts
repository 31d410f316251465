import { address } from '../api';

export interface Place {
  readonly title: string;
  /** Relative to where the page is served: `#/…` is a view of this page, anything else a page of a plugin's own. */
  readonly href: string;
}

/** Of collectors that are older than the page, too. */
interface Answer {
  readonly pages?: readonly Place[];
  readonly grafana?: string;
}

/** Where the page can lead to: what the collector's plugins have registered, and Grafana. */
class Places {
  list: readonly Place[] = $state.raw([]);
  /** Where Grafana has our dashboards, with a slash at the end; empty where nobody said. */
  grafana = $state('');
  /** `unknown` where the collector could not be asked; then a view of this page may or may not have its plugin. */
  state: 'asking' | 'known' | 'unknown' = $state('asking');

  /** Ask at the start, and whenever the collector has come back: another configuration may run now. */
  async ask(): Promise<void> {
    const response = await fetch(address('api/v1/pages')).catch(() => null);
    const answer = response?.ok ? ((await response.json().catch(() => null)) as Answer | null) : null;
    if (answer?.pages) this.list = answer.pages.filter(({ href }) => isPage(href));
    if (answer) this.grafana = answer.grafana && isPage(answer.grafana) ? answer.grafana : '';
    if (answer?.pages) this.state = 'known';
    else if (this.state === 'asking') this.state = 'unknown';
  }

  /** Whether the collector runs without the plugin whose page this is. */
  lacks(href: string): boolean {
    return this.state === 'known' && !this.list.some((place) => place.href === href);
  }
}

/** Whether the address can be opened as a page; `javascript:` and its like are not. */
function isPage(href: string): boolean {
  return URL.canParse(href, document.baseURI) && /^https?:$/.test(new URL(href, document.baseURI).protocol);
}

export const places = new Places();
