import { bypass, CARD, card, chip, COLUMN, type Edge, EXTRA, GAP, HEADER, PAD, type Piece, sequence, type Shape, Sheet, spread, stacked, START, startPiece, textWidth } from './pieces';
import type { Block, Place, Places } from './places';
import { isStep } from './places';
import { detailOf, shortened, titleOf } from './words';

export interface Layout {
  readonly width: number;
  readonly height: number;
  /** Where the line from start to end runs. */
  readonly axis: number;
  readonly shapes: readonly Shape[];
  readonly edges: readonly Edge[];
}

/** A step that ran below a place and that the code does not show. */
export interface Extra {
  readonly key: string;
  readonly name: string;
}

export type Extras = ReadonlyMap<string, readonly Extra[]>;

export const END = '/end';
/** What is appended to a place's key for the way out of it, and for the way back to a loop's head. */
export const OUT = '#out';
export const AGAIN = '#again';
/** The way past an `if` of which no branch is taken. */
export const NONE = '#none';

/** Lay a workflow out, top to bottom. Nothing crosses, because nothing leaves the box of the construct that it is in. */
export function layoutOf(places: Places, collapsed: ReadonlySet<string>, extras: Extras): Layout {
  const drafter = new Drafter(collapsed, extras);
  const body = drafter.block(places.root);
  const start = drafter.beside(startPiece(), '');
  const sheet = new Sheet();
  const axis = PAD + Math.max(body.axis, start.axis);
  start.draw(axis - start.axis, PAD, sheet);
  const top = PAD + start.height + GAP;
  body.draw(axis - body.axis, top, sheet);
  if (body.height > 0) sheet.edge([[axis, PAD + START], [axis, top]], '/', 'flow', true);
  const end = body.height > 0 ? top + body.height + GAP : top;
  if (body.open) sheet.edge([[axis, body.height > 0 ? top + body.height : PAD + START], [axis, end]], END, 'flow', true);
  sheet.shape('end', null, [axis - 8, end, 16, 16]);
  const right = Math.max(body.width - body.axis, start.width - start.axis, 8);
  return { axis, width: axis + right + PAD, height: end + 16 + PAD, shapes: sheet.shapes, edges: sheet.edges };
}

class Drafter {
  constructor(
    readonly collapsed: ReadonlySet<string>,
    readonly extras: Extras,
  ) {}

  block(block: Block): Piece {
    return sequence(block.places.map((place) => this.#piece(place)), block.key);
  }

  /** A piece with the steps beside it that the code does not show. */
  beside(piece: Piece, key: string): Piece {
    const found = this.extras.get(key) ?? [];
    if (!found.length) return piece;
    const width = Math.max(...found.map((extra) => textWidth(extra.name, 26, 110) + 26));
    const height = found.length * (EXTRA + 10) - 10;
    return {
      ...piece,
      width: piece.width + COLUMN + width,
      height: Math.max(piece.height, height),
      draw: (x, y, into) => {
        piece.draw(x, y, into);
        const left = x + piece.width + COLUMN;
        found.forEach((extra, at) => {
          const top = y + at * (EXTRA + 10);
          const from = x + piece.width;
          into.edge([[from, y + EXTRA / 2], [left - 14, y + EXTRA / 2], [left - 14, top + EXTRA / 2], [left, top + EXTRA / 2]], extra.key, 'extra');
          into.shape('extra', null, [left, top, width, EXTRA], { key: extra.key, title: shortened(extra.name, 26), detail: 'not in the code' });
        });
      },
    };
  }

  #piece(place: Place): Piece {
    const plain = this.collapsed.has(place.key) && place.blocks.length ? this.#folded(place) : this.#open(place);
    return isStep(place.node) || !place.blocks.length ? this.beside(plain, place.key) : plain;
  }

  #open(place: Place): Piece {
    const { type } = place.node;
    if (type === 'break') return chip(place);
    if (type === 'if' || type === 'switch') return this.#branches(place);
    if (type === 'parallel') return this.#parallel(place);
    if (type === 'try') return this.#frame(place, this.#tried(place));
    if (!place.blocks.length) return card(place);
    return this.#frame(place, sequence(place.blocks.map((block) => this.block(block)), place.key));
  }

  #folded(place: Place): Piece {
    return card(place, `${stepsIn(place)} steps`);
  }

  /** A box with a name around something. A loop's way back runs along its right side. */
  #frame(place: Place, inner: Piece): Piece {
    const isLoop = place.node.type === 'loop';
    const title = textWidth(titleOf(place.node), 40, 120) + (isLoop || place.node.type === 'step_do' ? 112 : 60);
    const right = isLoop ? PAD + 22 : PAD;
    const natural = PAD + inner.width + right;
    const left = PAD + Math.max(0, (title - natural) / 2);
    const width = Math.max(natural, title);
    const height = HEADER + 12 + inner.height + PAD;
    return {
      width,
      height,
      axis: left + inner.axis,
      open: inner.open || isLoop,
      when: place.key,
      draw: (x, y, into) => {
        into.shape('frame', place, [x, y, width, height], { title: shortened(titleOf(place.node), 40), detail: detailOf(place.node) });
        const axis = x + left + inner.axis;
        const top = y + HEADER + 12;
        const bottom = top + inner.height;
        into.edge([[axis, y + HEADER], [axis, top]], inner.when, 'flow', true);
        inner.draw(x + left, top, into);
        if (inner.open) into.edge([[axis, bottom], [axis, y + height]], `${place.key}${OUT}`);
        if (!isLoop || !inner.open) return;
        const turn = x + width - 16;
        into.edge([[axis, bottom + PAD / 2], [turn, bottom + PAD / 2], [turn, y + HEADER + 5], [axis + 4, y + HEADER + 5]], `${place.key}${AGAIN}`, 'back', true);
      },
    };
  }

  #branches(place: Place): Piece {
    const columns = place.blocks.map((block) => this.#branch(place, block));
    const isBypassed = place.blocks.length > 0 && place.blocks.every((block) => block.label);
    if (isBypassed) columns.push(bypass(`${place.key}${NONE}`));
    const title = titleOf(place.node);
    const isSwitch = place.node.type === 'switch';
    const gate = isSwitch ? textWidth(title, 30, 60) + 10 : 26;
    return spread(columns, 26, GAP - 8, (_x, y, axis, into) => {
      into.shape('gate', place, [axis - gate / 2, y, gate, 26], { title: isSwitch ? shortened(title, 30) : '' });
    }, place.key);
  }

  #branch(place: Place, block: Block): Piece {
    const text = block.label || (place.node.type === 'switch' ? 'default' : 'else');
    const width = textWidth(text, 30, 30, 6.4) + 4;
    const body = this.block(block);
    const left = Math.max(0, width / 2 - body.axis);
    const axis = Math.max(body.axis, width / 2);
    return {
      width: Math.max(left + body.width, axis + width / 2),
      height: 22 + (body.height ? 18 + body.height : 14),
      axis,
      open: body.open,
      when: block.key,
      draw: (x, y, into) => {
        into.shape('label', place, [x + axis - width / 2, y, width, 22], { key: block.key, title: shortened(text, 30) });
        into.edge([[x + axis, y + 22], [x + axis, y + 22 + (body.height ? 18 : 14)]], block.key, 'flow', body.height > 0);
        body.draw(x + left, y + 40, into);
      },
    };
  }

  #parallel(place: Place): Piece {
    const places = place.blocks.flatMap((block) => [...block.places]);
    if (places.length === 1 && places[0]) return this.#piece(places[0]);
    const lanes = this.#lanes(places, place.key);
    const title = titleOf(place.node);
    return spread(lanes, 22, 16, (x, y, axis, into, width) => {
      into.shape('bar', place, [x, y, width, 22], { title, detail: String(axis - x) });
    }, place.key, textWidth(title, 40, 60), true);
  }

  /** What goes on side by side: whatever starts when another has ended hangs below it; equal starts stand in one row. */
  #lanes(places: readonly Place[], key: string): Piece[] {
    const lanes: { readonly places: Place[]; readonly pieces: Piece[] }[] = [];
    for (const place of places) {
      const piece = this.#piece(place);
      const before = lanes.find((lane) => {
        const last = lane.places.at(-1)?.node.resolves;
        return last !== undefined && place.node.starts !== undefined && last === place.node.starts && last > 1;
      });
      if (before) {
        before.places.push(place);
        before.pieces.push(piece);
      } else lanes.push({ places: [place], pieces: [piece] });
    }
    const rows = rowsOf(lanes);
    return lanes.map((lane) => stacked(lane.pieces, lane.places.map((place) => rows.get(place.node.starts ?? 1) ?? 0), key));
  }

  #tried(place: Place): Piece {
    const of = (role: Block['role']) => place.blocks.find((block) => block.role === role);
    const [tried, caught, last] = [of('try'), of('catch'), of('finally')];
    const body = tried ? this.block(tried) : sequence([], place.key);
    const both = caught ? this.#caught(place, body, caught) : body;
    return last ? sequence([both, this.#named(place, last, 'finally')], place.key) : both;
  }

  #caught(place: Place, body: Piece, block: Block): Piece {
    const handler = this.#named(place, block, 'catch');
    const left = body.width + COLUMN;
    const height = Math.max(body.height, handler.height) + 18;
    return {
      width: left + handler.width,
      height,
      axis: body.axis,
      open: body.open || handler.open,
      when: body.when,
      draw: (x, y, into) => {
        body.draw(x, y, into);
        handler.draw(x + left, y, into);
        const axis = x + left + handler.axis;
        into.edge([[x + body.width, y + 11], [axis - 34, y + 11]], block.key, 'error', true);
        if (body.open) into.edge([[x + body.axis, y + body.height], [x + body.axis, y + height]], body.when);
        if (handler.open) into.edge([[axis, y + handler.height], [axis, y + height - 7], [x + body.axis, y + height - 7], [x + body.axis, y + height]], block.key);
      },
    };
  }

  #named(place: Place, block: Block, name: string): Piece {
    const body = this.block(block);
    const axis = Math.max(body.axis, 34);
    const left = axis - body.axis;
    return {
      width: Math.max(left + body.width, axis + 34),
      height: 40 + body.height,
      axis,
      open: body.open,
      when: block.key,
      draw: (x, y, into) => {
        into.shape('label', place, [x + axis - 34, y, 68, 22], { key: block.key, title: name });
        into.edge([[x + axis, y + 22], [x + axis, y + 40]], block.key, 'flow', true);
        body.draw(x + left, y + 40, into);
      },
    };
  }
}

/** The height at which each number of `starts` begins: below all that began, and have a successor, before. */
function rowsOf(lanes: readonly { readonly places: readonly Place[]; readonly pieces: readonly Piece[] }[]): Map<number, number> {
  const numbers = [...new Set(lanes.flatMap((lane) => lane.places.map((place) => place.node.starts ?? 1)))].sort((a, b) => a - b);
  const rows = new Map<number, number>();
  for (const number of numbers) {
    let top = 0;
    for (const lane of lanes) {
      lane.places.forEach((place, at) => {
        const starts = place.node.starts ?? 1;
        if (starts >= number) return;
        const follows = (lane.places[at + 1]?.node.starts ?? Number.POSITIVE_INFINITY) <= number || (place.node.resolves ?? Number.POSITIVE_INFINITY) <= number;
        const floor = (rows.get(starts) ?? 0) + (follows ? (lane.pieces[at]?.height ?? 0) : CARD) + GAP;
        top = Math.max(top, floor);
      });
    }
    rows.set(number, top);
  }
  return rows;
}

function stepsIn(place: Place): number {
  return place.blocks.reduce((sum, block) => sum + block.places.reduce((all, each) => all + (isStep(each.node) || each.child ? 1 : 0) + stepsIn(each), 0), 0);
}
