export interface CodeLine {
  readonly number: number;
  readonly text: string;
  readonly here: boolean;
}

const BEFORE = 4;
const AFTER = 9;
/** A bundle may be one line of a megabyte. */
const MOST_CHARACTERS = 400;

/** The lines around one, without the blanks that all of them begin with. Lines count from 1. */
export function linesAround(text: string, line: number): CodeLine[] {
  const all = text.split('\n');
  const first = Math.max(1, line - BEFORE);
  const shown = all.slice(first - 1, line + AFTER);
  while (shown.length && shown.at(-1)?.trim() === '' && first + shown.length - 1 > line) shown.pop();
  const indent = Math.min(...shown.filter((each) => each.trim()).map((each) => each.length - each.trimStart().length));
  return shown.map((each, at) => ({ number: first + at, text: cut(each.slice(Number.isFinite(indent) ? indent : 0)), here: first + at === line }));
}

function cut(line: string): string {
  const plain = line.replaceAll('\t', '  ').trimEnd();
  return plain.length > MOST_CHARACTERS ? `${plain.slice(0, MOST_CHARACTERS)}…` : plain;
}
