import type { Ref } from '../contract.ts';
import type { StoreParts } from './work.ts';

/** The trees of generations: their files, laid out. */
export class Trees {
  readonly #parts: StoreParts;

  constructor(parts: StoreParts) {
    this.#parts = parts;
  }

  /** Fsyncs the tree of a generation. Until then only its archive survives a power loss. */
  sync(ref: Ref): Promise<void> {
    return this.#parts.work.sync(this.#parts.layout.generation(ref));
  }

  /** Reads every byte of a generation. Returns what is the matter with it, a sentence each. */
  check(ref: Ref, signal?: AbortSignal): Promise<string[]> {
    return this.#parts.work.check(this.#parts.layout.generation(ref), signal);
  }

  /**
   * Makes a tree that a power loss damaged again from its archive.
   *
   * @throws StorageError `corrupt` where the archive cannot help either
   */
  repair(ref: Ref): Promise<boolean> {
    return this.#parts.work.repair({
      folder: this.#parts.layout.generation(ref),
      scratch: this.#parts.staging.path(),
      limits: this.#parts.limits,
    });
  }
}
