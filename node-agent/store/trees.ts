import type { Limits, Ref } from '../contract.ts';
import type { Layout } from './layout.ts';
import type { Staging } from './staging.ts';
import type { StageWork } from './work.ts';

/** The trees of generations: their files, laid out. */
export class Trees {
  readonly #layout: Layout;
  readonly #limits: Limits;
  readonly #staging: Staging;
  readonly #work: StageWork;

  constructor(layout: Layout, limits: Limits, staging: Staging, work: StageWork) {
    this.#layout = layout;
    this.#limits = limits;
    this.#staging = staging;
    this.#work = work;
  }

  /** Fsyncs the tree of a generation. Until then only its archive survives a power loss. */
  sync(ref: Ref): Promise<void> {
    return this.#work.sync(this.#layout.generation(ref));
  }

  /** Reads every byte of a generation. Returns what is the matter with it, a sentence each. */
  check(ref: Ref, signal?: AbortSignal): Promise<string[]> {
    return this.#work.check(this.#layout.generation(ref), signal);
  }

  /**
   * Makes a tree that a power loss damaged again from its archive.
   *
   * @throws StorageError `corrupt` where the archive cannot help either
   */
  repair(ref: Ref): Promise<boolean> {
    return this.#work.repair({
      folder: this.#layout.generation(ref),
      scratch: this.#staging.path(),
      limits: this.#limits,
    });
  }
}
