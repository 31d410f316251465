import type { Camera } from './camera.svelte';

/** A finger or mouse that moved less than this has pressed, not dragged. */
const SLACK = 4;

/** Let a drag, a wheel and two fingers move a camera; returns how to stop. */
export function gestures(element: SVGSVGElement, camera: Camera): () => void {
  const pointers = new Map<number, { x: number; y: number }>();
  let moved = 0;

  const place = (event: PointerEvent | WheelEvent) => {
    const box = element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const down = (event: PointerEvent) => {
    if (event.pointerType === 'mouse' && event.button !== 0) return;
    if (!pointers.size) {
      moved = 0;
      camera.dragged = false;
    }
    pointers.set(event.pointerId, place(event));
  };
  const move = (event: PointerEvent) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = place(event);
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    pointers.set(event.pointerId, now);
    moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (moved < SLACK) return;
    if (!camera.dragged) {
      camera.dragged = true;
      element.setPointerCapture(event.pointerId);
    }
    const [other] = others;
    if (!other) return camera.pan(now.x - before.x, now.y - before.y);
    camera.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    const factor = Math.hypot(now.x - other.x, now.y - other.y) / Math.max(1, Math.hypot(before.x - other.x, before.y - other.y));
    camera.zoom(factor, (now.x + other.x) / 2, (now.y + other.y) / 2);
  };
  const up = (event: PointerEvent) => pointers.delete(event.pointerId);
  const wheel = (event: WheelEvent) => {
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 18 : 1;
    const at = place(event);
    if (event.ctrlKey || event.metaKey) camera.zoom(Math.exp(-event.deltaY * unit * 0.006), at.x, at.y);
    else if (event.shiftKey) camera.pan(-event.deltaY * unit, 0);
    else camera.pan(-event.deltaX * unit, -event.deltaY * unit);
  };

  const stop = new AbortController();
  const { signal } = stop;
  element.addEventListener('pointerdown', down, { signal });
  element.addEventListener('pointermove', move, { signal });
  element.addEventListener('pointerup', up, { signal });
  element.addEventListener('pointercancel', up, { signal });
  element.addEventListener('wheel', wheel, { signal, passive: false });
  return () => stop.abort();
}
