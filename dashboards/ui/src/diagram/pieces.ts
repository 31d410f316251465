import type { Place } from './places';
import type { Area } from './sight';
import { detailOf, shortened, titleOf } from './words';

/** A box on the diagram. Coordinates are those of the whole, in pixels at a zoom of 1. */
export interface Shape {
  readonly kind: 'start' | 'end' | 'card' | 'frame' | 'gate' | 'bar' | 'label' | 'chip' | 'extra';
  readonly key: string;
  readonly place: Place | null;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly title: string;
  readonly detail: string;
  readonly open: boolean;
}

export interface Edge {
  readonly key: string;
  readonly path: string;
  /** The place or block that was reached when somebody went this way. */
  readonly when: string;
  readonly look: 'flow' | 'back' | 'error' | 'extra';
  readonly arrow: boolean;
  /** Around all of it. */
  readonly box: Area;
}

export const GAP = 30;
export const COLUMN = 32;
export const PAD = 18;
export const HEADER = 34;
export const CARD = 48;
export const EXTRA = 40;
export const START = EXTRA / 2 + 7;
const RADIUS = 9;

/** A part of the drawing that does not know yet where it will be. */
export interface Piece {
  readonly width: number;
  readonly height: number;
  /** Where its line comes in and goes out, from its left. */
  readonly axis: number;
  /** Whether what follows is reached from its end. */
  readonly open: boolean;
  readonly when: string;
  draw(x: number, y: number, into: Sheet): void;
}

export class Sheet {
  readonly shapes: Shape[] = [];
  readonly edges: Edge[] = [];

  shape(kind: Shape['kind'], place: Place | null, box: readonly [number, number, number, number], more: Partial<Shape> = {}): void {
    const [x, y, width, height] = box;
    const key = more.key ?? place?.key ?? kind;
    this.shapes.push({ kind, key, place, x, y, width, height, title: more.title ?? '', detail: more.detail ?? '', open: more.open ?? true });
  }

  edge(points: readonly (readonly [number, number])[], when: string, look: Edge['look'] = 'flow', arrow = false): void {
    const path = rounded(points);
    if (!path) return;
    const [xs, ys] = [points.map((point) => point[0]), points.map((point) => point[1])];
    const box = { left: Math.min(...xs) - 1, top: Math.min(...ys) - 1, right: Math.max(...xs) + 1, bottom: Math.max(...ys) + 1 };
    this.edges.push({ key: `${when} ${this.edges.length}`, path, when, look, arrow, box });
  }
}

/** One below the other, with a line between. */
export function sequence(pieces: readonly Piece[], when: string): Piece {
  const axis = Math.max(0, ...pieces.map((piece) => piece.axis));
  const right = Math.max(0, ...pieces.map((piece) => piece.width - piece.axis));
  const height = pieces.reduce((sum, piece) => sum + piece.height + GAP, pieces.length ? -GAP : 0);
  return {
    width: axis + right,
    height,
    axis,
    open: pieces.every((piece) => piece.open),
    when: pieces[0]?.when ?? when,
    draw: (x, y, into) => {
      let top = y;
      pieces.forEach((piece, at) => {
        piece.draw(x + axis - piece.axis, top, into);
        top += piece.height;
        const next = pieces[at + 1];
        if (next && piece.open) into.edge([[x + axis, top], [x + axis, top + GAP]], next.when, 'flow', true);
        top += GAP;
      });
    },
  };
}

/** One below the other, each at least at the height that its row has. */
export function stacked(pieces: readonly Piece[], rows: readonly number[], when: string): Piece {
  const axis = Math.max(0, ...pieces.map((piece) => piece.axis));
  const right = Math.max(0, ...pieces.map((piece) => piece.width - piece.axis));
  const last = pieces.length - 1;
  const tops: number[] = [];
  pieces.forEach((_, at) => {
    const above = at ? (tops[at - 1] ?? 0) + (pieces[at - 1]?.height ?? 0) + GAP : 0;
    tops.push(Math.max(rows[at] ?? 0, above));
  });
  return {
    width: axis + right,
    height: (tops[last] ?? 0) + (pieces[last]?.height ?? 0),
    axis,
    open: pieces.every((piece) => piece.open),
    when: pieces[0]?.when ?? when,
    draw: (x, y, into) => {
      pieces.forEach((piece, at) => {
        const top = y + (tops[at] ?? 0);
        const above = at ? y + (tops[at - 1] ?? 0) + (pieces[at - 1]?.height ?? 0) : y;
        if (top > above && (pieces[at - 1]?.open ?? true)) into.edge([[x + axis, above], [x + axis, top]], piece.when, 'flow', true);
        piece.draw(x + axis - piece.axis, top, into);
      });
    },
  };
}

/** Side by side between a head and the place where the lines come together. */
export function spread(
  columns: readonly Piece[],
  head: number,
  drop: number,
  drawHead: (x: number, y: number, axis: number, into: Sheet, width: number) => void,
  when: string,
  least = 0,
  isBar = false,
): Piece {
  const natural = columns.reduce((sum, column) => sum + column.width, 0) + COLUMN * Math.max(0, columns.length - 1);
  const width = Math.max(natural, least);
  const tallest = Math.max(0, ...columns.map((column) => column.height));
  const height = head + drop + tallest + drop + (isBar ? 6 : 0);
  const shift = (width - natural) / 2;
  const first = columns[0];
  const last = columns.at(-1);
  const axes: number[] = [];
  let left = shift;
  for (const column of columns) {
    axes.push(left + column.axis);
    left += column.width + COLUMN;
  }
  const axis = first && last ? ((axes[0] ?? 0) + (axes.at(-1) ?? 0)) / 2 : width / 2;
  return {
    width,
    height,
    axis,
    open: columns.length === 0 || columns.some((column) => column.open),
    when,
    draw: (x, y, into) => {
      drawHead(x, y, x + axis, into, width);
      const top = y + head + drop;
      const bottom = y + height;
      columns.forEach((column, at) => {
        const line = x + (axes[at] ?? 0);
        const from = isBar ? line : x + axis;
        into.edge([[from, y + head - (isBar ? 4 : 0)], [from, y + head + 8], [line, y + head + 8], [line, top]], column.when, 'flow', isBar);
        column.draw(line - column.axis, top, into);
        if (!column.open) return;
        const foot = top + column.height;
        if (isBar) into.edge([[line, foot], [line, bottom - 5]], column.when);
        else into.edge([[line, foot], [line, bottom - 7], [x + axis, bottom - 7], [x + axis, bottom]], column.when);
      });
      if (isBar) into.shape('bar', null, [x, bottom - 5, width, 4], { key: `${when}#join`, detail: 'join' });
    },
  };
}

/** The dot at the top, at the height of what may stand beside it. */
export function startPiece(): Piece {
  const top = EXTRA / 2 - 7;
  return {
    width: 14,
    height: EXTRA / 2 + 7,
    axis: 7,
    open: true,
    when: '/',
    draw: (x, y, into) => into.shape('start', null, [x, y + top, 14, 14]),
  };
}

export function card(place: Place, detail = ''): Piece {
  const title = place.child || titleOf(place.node);
  const small = detail || (place.child ? 'a run of its own' : place.cut ? 'calls itself again' : detailOf(place.node));
  const width = Math.max(textWidth(title, 34, title.includes('…') ? 190 : 156), textWidth(small, 44, 0, 6) + 20) + 34;
  return {
    width,
    height: CARD,
    axis: width / 2,
    open: true,
    when: place.key,
    draw: (x, y, into) => into.shape('card', place, [x, y, width, CARD], { title: shortened(title, 34), detail: shortened(small, 44), open: !detail }),
  };
}

export function chip(place: Place): Piece {
  const title = titleOf(place.node);
  const width = textWidth(title, 20, 44);
  return {
    width,
    height: 24,
    axis: width / 2,
    open: false,
    when: place.key,
    draw: (x, y, into) => into.shape('chip', place, [x, y, width, 24], { title }),
  };
}

export function bypass(when: string): Piece {
  return {
    width: 16,
    height: 0,
    axis: 8,
    open: true,
    when,
    draw: () => undefined,
  };
}

export function textWidth(text: string, most: number, least: number, letter = 7.1): number {
  return Math.max(least, Math.round([...shortened(text, most)].reduce((sum, each) => sum + (each > 'ⴀ' ? letter * 1.8 : letter), 0) + 22));
}

/** A path through points at right angles, its corners rounded. */
function rounded(points: readonly (readonly [number, number])[]): string {
  const kept = points.filter((point, at) => at === 0 || point[0] !== points[at - 1]?.[0] || point[1] !== points[at - 1]?.[1]);
  const [first] = kept;
  if (!first || kept.length < 2) return '';
  let path = `M${n(first[0])} ${n(first[1])}`;
  for (let at = 1; at < kept.length; at++) {
    const [x, y] = kept[at] ?? first;
    const next = kept[at + 1];
    if (!next) {
      path += `L${n(x)} ${n(y)}`;
      break;
    }
    const [px, py] = kept[at - 1] ?? first;
    const size = Math.min(RADIUS, Math.hypot(x - px, y - py) / 2, Math.hypot(next[0] - x, next[1] - y) / 2);
    path += `L${n(x - Math.sign(x - px) * size)} ${n(y - Math.sign(y - py) * size)}`;
    path += `Q${n(x)} ${n(y)} ${n(x + Math.sign(next[0] - x) * size)} ${n(y + Math.sign(next[1] - y) * size)}`;
  }
  return path;
}

function n(value: number): string {
  return String(Math.round(value * 10) / 10);
}
