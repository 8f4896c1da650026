import { readFile } from 'node:fs/promises';

/** The key that the cloud is asked with. Where it lies in a file, a new one is taken from there. */
export class Key {
  readonly #file: string | null;
  #value: string;

  /** @param file read again when the cloud refuses the key; `null`: it is what it is */
  constructor(value: string, file: string | null) {
    this.#value = value;
    this.#file = file;
  }

  get value(): string {
    return this.#value;
  }

  /** Reads the file again. @returns whether it holds another key than before */
  async refresh(): Promise<boolean> {
    if (this.#file === null) return false;
    const value = (await readFile(this.#file, 'utf8').catch(() => '')).trim();
    // A file that is just being written, or is gone, is no key.
    if (value === '' || value === this.#value || /[^\x21-\x7e]/.test(value)) return false;
    this.#value = value;
    return true;
  }
}
