/** Why something that lies in a folder or a tar is not part of what was saved. */
export type LeftOutReason = 'excluded' | 'own' | 'reserved' | 'link' | 'special' | 'unnamed';

/** What was left out of a save: how much, and the first of it by name. */
export type LeftOut = Readonly<{
  count: number;
  items: readonly Readonly<{ path: string; reason: LeftOutReason }>[];
}>;

/** So many are named; the rest is counted. */
const MAX_NAMED = 100;

export const NOTHING_LEFT_OUT: LeftOut = { count: 0, items: [] };

/** Counts what is left out, and remembers the first of it. */
export class LeftOutCount {
  #count = 0;
  readonly #items: { path: string; reason: LeftOutReason }[] = [];

  add(path: string, reason: LeftOutReason): void {
    this.#count++;
    if (this.#items.length < MAX_NAMED) this.#items.push({ path, reason });
  }

  addAll({ count, items }: LeftOut): void {
    this.#count += count;
    this.#items.push(...items.slice(0, MAX_NAMED - this.#items.length));
  }

  get all(): LeftOut {
    return { count: this.#count, items: this.#items };
  }
}
