import { randomUUID } from 'node:crypto';
import { EpochFile } from './epoch-file.ts';
import type { Meta } from './meta.ts';

/**
 * Ties a catalog to the disk that it is an index of. Each commit, replacement and deletion is counted
 * in the catalog, and in a file beside it before the catalog commits. Where they differ the catalog is
 * of another time or another store: what it says is compared with the disk before it is believed.
 */
export class Epoch {
  readonly #file: EpochFile;
  readonly #meta: Meta;
  /** Which projects the transaction that runs has counted for. */
  #counted = new Set<string>();

  /** @param path of the file */
  constructor(path: string, meta: Meta) {
    this.#file = new EpochFile(path);
    this.#meta = meta;
  }

  /**
   * Compares both. To be called as each transaction begins: a reader may see an older catalog, rightly.
   */
  compare(): void {
    this.#counted = new Set();
    const { hostId: catalog, epoch } = this.#meta;
    const mark = this.#file.read();
    const ahead = mark?.catalog === catalog ? mark.count - epoch : null;
    if (ahead === 0) return;
    if (ahead === 1 && mark!.project !== '') {
      // A transaction that did not come to its end.
      this.#meta.addUnread(mark!.project);
      this.#meta.setEpoch(mark!.count);
      return;
    }
    this.#meta.distrust(randomUUID());
    this.#set(Math.max(epoch, mark?.count ?? 0) + 1, '');
  }

  /** Counts a change of what lies on disk of a project. In the transaction that notes it. */
  countUp(projectId: string): void {
    if (this.#counted.has(projectId)) return;
    this.#counted.add(projectId);
    this.#set(this.#meta.epoch + 1, projectId);
  }

  /** Has what a part of a transaction counted, which is rolled back, be counted again. */
  attempt<T>(part: () => PromiseSettledResult<T>): PromiseSettledResult<T> {
    const counted = new Set(this.#counted);
    const outcome = part();
    if (outcome.status === 'rejected') this.#counted = counted;
    return outcome;
  }

  #set(count: number, project: string): void {
    this.#meta.setEpoch(count);
    this.#file.write({ catalog: this.#meta.hostId, count, project });
  }

  close(): void {
    this.#file.close();
  }
}
