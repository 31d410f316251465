export type Theme = 'system' | 'light' | 'dark';

// public/theme.js reads the same key before the first paint.
const KEY = 'stagelight.theme';
const NEXT: Readonly<Record<Theme, Theme>> = { system: 'light', light: 'dark', dark: 'system' };

class ThemeChoice {
  theme: Theme = $state(stored());

  next(): void {
    this.theme = NEXT[this.theme];
    if (this.theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.theme;
    try {
      localStorage.setItem(KEY, this.theme);
    } catch {
      // Storage may be forbidden; the choice then lasts as long as the page.
    }
  }
}

export const themeChoice = new ThemeChoice();

function stored(): Theme {
  const value = document.documentElement.dataset.theme;
  return value === 'light' || value === 'dark' ? value : 'system';
}
