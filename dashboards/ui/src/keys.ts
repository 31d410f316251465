/** Whether the key belongs to a text field rather than to the page. */
export function isTyping(event: KeyboardEvent): boolean {
  return event.target instanceof HTMLElement && event.target.matches('input, select, textarea');
}

/** Whether the key is meant for an open dialog; Escape there must not also leave the page. */
export function isInDialog(event: KeyboardEvent): boolean {
  return event.target instanceof HTMLElement && event.target.closest('dialog') !== null;
}

/** Whether Enter would press what has the focus anyway. */
export function isOnControl(event: KeyboardEvent): boolean {
  return event.target instanceof HTMLElement && event.target.closest('button, a, summary') !== null;
}

/** Where a key moves to in a list, or null for a key that does not move. Nothing is chosen at -1. */
export function stepKey(event: KeyboardEvent, at: number, length: number, page: number): number | null {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  switch (event.key) {
    case 'j':
    case 'ArrowDown':
      return Math.min(length - 1, at + 1);
    case 'k':
    case 'ArrowUp':
      return Math.max(0, at - 1);
    case 'PageDown':
      return Math.min(length - 1, at + page);
    case 'PageUp':
      return Math.max(0, at - page);
    case 'Home':
      return 0;
    case 'End':
      return length - 1;
    default:
      return null;
  }
}
