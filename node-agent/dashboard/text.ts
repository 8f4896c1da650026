/** Bytes as text, in pieces that a browser can lay out one by one. */

/** @returns `null` where it is no text */
export function decode(bytes: Uint8Array): string | null {
  if (bytes.subarray(0, 8192).includes(0)) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** Some rows of text, and the numbers of their lines: none where a row goes on with the line before. */
export type Block = Readonly<{ rows: number; numbers: string; text: string }>;

const ROWS = 200;
/** A line that is longer goes on in the next row: a browser lays a row out whole. */
const MOST_OF_A_ROW = 2000;

/** Cut into blocks: those that nobody sees are not laid out. */
export function blocksOf(text: string): Block[] {
  const blocks: Block[] = [];
  let rows: string[] = [];
  let numbers: string[] = [];
  const end = () => {
    if (rows.length > 0) {
      blocks.push({ rows: rows.length, numbers: numbers.join('\n'), text: rows.join('\n') });
    }
    rows = [];
    numbers = [];
  };
  for (const [i, line] of text.split('\n').entries()) {
    for (let from = 0; from === 0 || from < line.length; from += MOST_OF_A_ROW) {
      rows.push(line.slice(from, from + MOST_OF_A_ROW));
      numbers.push(from === 0 ? String(i + 1) : '');
      if (rows.length >= ROWS) end();
    }
  }
  end();
  return blocks;
}
