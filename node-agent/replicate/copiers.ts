import { isDeepStrictEqual } from 'node:util';
import type { Replica } from '../replicas/replica.ts';
import type { ReplicaFiles } from '../replicas/replica-files.ts';
import type { OutageCause } from '../upload/breaker.ts';
import { Copier, type Parts as CopierParts } from './copier.ts';

type Parts = CopierParts & Readonly<{ files: ReplicaFiles }>;

/** Fills every replica of which this host has the keys, each by itself, in the background. */
export class Copiers {
  readonly #parts: Parts;
  readonly #running = new Map<string, Copier>();
  /** Those that somebody else fills now. */
  readonly #held = new Set<string>();
  #isStopped = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Looks which replicas there are, another process may have added some; and what is owed to them. */
  async look(): Promise<void> {
    if (this.#isStopped) return;
    const replicas = this.#parts.files.list();
    const ended: Copier[] = [];
    for (const [name, copier] of this.#running) {
      if (replicas.some((replica) => isDeepStrictEqual(replica, copier.replica))) continue;
      this.#running.delete(name);
      ended.push(copier);
    }
    for (const replica of replicas) this.#start(replica);
    await Promise.all(ended.map((copier) => copier.stop()));
  }

  #start(replica: Replica): void {
    if (this.#running.has(replica.name) || this.#held.has(replica.name)) return;
    const copier = new Copier(this.#parts, replica);
    this.#running.set(replica.name, copier);
    copier.wake();
  }

  /** Does something with a replica which nothing here fills meanwhile. */
  async without<T>(name: string, work: () => Promise<T>): Promise<T> {
    this.#held.add(name);
    try {
      const copier = this.#running.get(name);
      this.#running.delete(name);
      await copier?.stop();
      return await work();
    } finally {
      this.#held.delete(name);
      await this.look();
    }
  }

  /** Something became owed. */
  wake(): void {
    for (const copier of this.#running.values()) copier.wake();
  }

  /** Why nothing is copied to a replica; `null` where it is, or is not by this process. */
  causeOf(name: string): OutageCause | null {
    return this.#running.get(name)?.cause ?? null;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all([...this.#running.values()].map((copier) => copier.stop()));
  }
}
