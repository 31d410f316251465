import type { Layout } from './layout';
import type { Edge, Shape } from './pieces';

/** Drawings with fewer boxes are drawn whole. */
const FEW = 160;
/** Where the window is, is noted in steps of this: a small move changes nothing in the document. */
const STEP = 400;

export interface Area {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

interface View {
  readonly x: number;
  readonly y: number;
  readonly scale: number;
}

/** The part of a drawing that is in a window, and some around it; null for all of a small drawing. */
export function areaOf(layout: Layout, camera: View, window: { readonly width: number; readonly height: number }): Area | null {
  if (layout.shapes.length < FEW) return null;
  const left = Math.floor(-camera.x / camera.scale / STEP - 1) * STEP;
  const top = Math.floor(-camera.y / camera.scale / STEP - 1) * STEP;
  return {
    left,
    top,
    right: left + Math.ceil(window.width / camera.scale / STEP + 3) * STEP,
    bottom: top + Math.ceil(window.height / camera.scale / STEP + 3) * STEP,
  };
}

export function shapesIn(shapes: readonly Shape[], area: Area | null): readonly Shape[] {
  if (!area) return shapes;
  return shapes.filter((each) => each.x < area.right && each.x + each.width > area.left && each.y < area.bottom && each.y + each.height > area.top);
}

/** A line is in sight if the box around it is. */
export function edgesIn(edges: readonly Edge[], area: Area | null): readonly Edge[] {
  if (!area) return edges;
  return edges.filter(({ box }) => box.left < area.right && box.right > area.left && box.top < area.bottom && box.bottom > area.top);
}
