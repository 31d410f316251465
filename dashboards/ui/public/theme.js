// The choice is kept under the same key by src/theme.svelte.ts.
try {
  const theme = localStorage.getItem('stagelight.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the system's preference then decides.
}
