import type { CloudCopies } from '../cloud/cloud.ts';
import type { CloudSettings } from '../cloud/connection.ts';
import type { CountedCopies } from '../cloud/copies.ts';
import { ProjectFileReader } from '../cloud/project-file.ts';
import { isHostKey, StorageError } from '../contract.ts';
import { checkWritable } from '../disk/check-writable.ts';
import { connectReplica, type Reach } from '../replicas/connect-replica.ts';
import { createReplica, type Replica, type ReplicaInput } from '../replicas/replica.ts';
import type { ReplicaFiles } from '../replicas/replica-files.ts';
import type { ReplicaObjects } from '../replicas/replica-objects.ts';
import { type CheckedCopy, type CheckOptions, checkCopies } from './check-copies.ts';
import type { Copiers } from './copiers.ts';
import { type Parts as WorkParts, workOff, writeFiles } from './work.ts';

/** A replica, and how it is. */
export type ReplicaStatus = Readonly<{
  name: string;
  /** What this host knows of it; `null` where it has not its keys. */
  settings: Replica | null;
  /** What the database knows of it; `null` where it knows no such replica. */
  copies: Omit<CountedCopies, 'name'> | null;
  /** Why this process copies nothing there; `null` where it does, or does not copy. */
  away: string | null;
}>;

/** What a sync came to. */
export type SyncReport = Readonly<{
  name: string;
  copied: number;
  removed: number;
  /** Files of projects that were written. */
  files: number;
  /** What is to be copied or removed still: others do it, or it failed. */
  owed: number;
  /** What of it could not be done, and why the first of it. */
  failed: number;
  failure: string | null;
  stopped: boolean;
}>;

type SyncOptions = Readonly<{
  /** Ends it after what is under way. */
  signal?: AbortSignal;
  onProgress?: (progress: Readonly<{ done: number }>) => void;
}>;

type Parts = Omit<WorkParts, 'copies' | 'objects'> &
  Readonly<{
    files: ReplicaFiles;
    /** `null` while the cloud is off. */
    cloud: Pick<WorkParts, 'copies' | 'objects'> | null;
    unwritable: StorageError | null;
    /** `null` while the cloud is off. */
    cloudSettings: CloudSettings | null;
    copiers: Copiers | null;
    reach: Reach;
  }>;

/** Second copies of what the cloud has, in buckets elsewhere. */
export class Replicas {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Has every verified archive be copied into a bucket from now on, and those there are. Repeated with the same name, it
   * takes the place of what was known of it.
   *
   * @throws StorageError `invalid_input` that names what is wrong, `forbidden` where the bucket is public or this host
   *   has a key of its own, `not_found`, `unauthenticated`, `unavailable`
   */
  async add(input: ReplicaInput): Promise<Replica> {
    const { files, unwritable, copiers } = this.#parts;
    const copies = this.#copies('add a replica');
    checkWritable(unwritable, 'add a replica');
    const replica = createReplica(input);
    this.#checkElsewhere(replica);
    await (await this.#connect(replica)).check();
    await copies.add(replica.name, replica.region);
    await files.put(replica);
    await copies.oweAll(replica.name);
    await copiers?.look();
    return replica;
  }

  /** A copy in the bucket that it is a copy of is none. */
  #checkElsewhere({ url, bucket }: Replica): void {
    const { cloudSettings: own } = this.#parts;
    if (own === null || bucket !== own.bucket) return;
    if (new URL(url).host !== new URL(own.url).host) return;
    const state = `it is the bucket that generations are uploaded into, "${bucket}". Use another, in another project`;
    throw new StorageError('invalid_input', `Cannot add a replica: ${state}`);
  }

  /** Those that this host knows, or the database does, by name. */
  async list(): Promise<ReplicaStatus[]> {
    const { files, copiers } = this.#parts;
    const counted = await this.#copies('look how replicas are').count();
    const here = files.list();
    const names = new Set([...here, ...counted].map(({ name }) => name));
    return [...names].sort().map((name) => {
      const found = counted.find((one) => one.name === name);
      const { name: _, ...copies } = found ?? { name };
      return {
        name,
        settings: here.find((one) => one.name === name) ?? null,
        copies: found === undefined ? null : (copies as Omit<CountedCopies, 'name'>),
        away: copiers?.causeOf(name)?.reason ?? null,
      };
    });
  }

  /** Files that lie among the replicas and hold none. */
  unreadable(): string[] {
    return this.#parts.files.unreadable();
  }

  /**
   * Copies what a replica has not, whoever saved it, and removes what is to go: all of it, now. What the bucket has
   * lost of it is not noticed: {@link check} does.
   *
   * @throws StorageError `not_found`, `unavailable` of the database, and where the replica is away
   */
  async sync(name: string, options: SyncOptions = {}): Promise<SyncReport> {
    const { copiers, files } = this.#parts;
    const replica = files.find(name);
    const sync = () => this.#sync(replica, options);
    return copiers === null ? sync() : copiers.without(name, sync);
  }

  async #sync(replica: Replica, { signal, onProgress }: SyncOptions): Promise<SyncReport> {
    const { name } = replica;
    const copies = this.#copies(`fill replica "${name}"`);
    const objects = await this.#connect(replica);
    const parts = this.#work(signal);
    await copies.oweAll(name);
    const sum = { copied: 0, removed: 0, failed: 0 };
    while (signal?.aborted !== true) {
      const done = await workOff(parts, name, objects, null);
      if (done === null) break;
      if (done.outage !== null) throw done.outage;
      sum.copied += done.copied;
      sum.removed += done.removed;
      sum.failed += done.failed;
      onProgress?.({ done: sum.copied + sum.removed + sum.failed });
    }
    const stopped = signal?.aborted === true;
    const files = stopped ? 0 : await writeFiles(parts, name, objects);
    const [counted] = (await copies.count()).filter((one) => one.name === name);
    return {
      ...{ name, copied: sum.copied, removed: sum.removed, files, stopped },
      owed: counted === undefined ? 0 : counted.owed + counted.unneeded,
      failed: counted?.failed ?? 0,
      failure: counted?.failure ?? null,
    };
  }

  /**
   * Reads every copy in a replica back, and compares it.
   *
   * @param options.repair whether what is missing or damaged there is owed again: {@link sync} copies it
   * @returns each of them, with what is the matter
   * @throws StorageError `not_found`, `unavailable`
   */
  async *check(name: string, options: CheckOptions = {}): AsyncGenerator<CheckedCopy> {
    const replica = this.#parts.files.find(name);
    const copies = this.#copies(`check replica "${name}"`);
    yield* checkCopies({ copies, replica: await this.#connect(replica) }, name, options);
  }

  /**
   * Has this host copy nothing there any more. What lies there stays.
   *
   * @param options.forget whether no host does, and the database forgets what lies there
   * @throws StorageError `not_found`
   */
  async remove(name: string, { forget = false } = {}): Promise<void> {
    const { files, copiers, unwritable } = this.#parts;
    checkWritable(unwritable, 'remove a replica');
    const isHere = files.list().some((one) => one.name === name);
    if (!isHere && !forget) files.find(name);
    if (forget) await this.#copies(`forget replica "${name}"`).forget(name);
    if (isHere) await files.remove(name);
    await copiers?.look();
  }

  /** What lies in a replica, for who reads from there. @throws StorageError `not_found` */
  open(name: string): Promise<ReplicaObjects> {
    return this.#connect(this.#parts.files.find(name));
  }

  /** A replica as what is restored from. @throws StorageError `not_found` */
  async source(name: string) {
    const objects = await this.open(name);
    return { objects, projectFiles: new ProjectFileReader(objects) };
  }

  #connect(replica: Replica): Promise<ReplicaObjects> {
    return connectReplica(replica, this.#parts.signal, this.#parts.reach);
  }

  #work(signal: AbortSignal | undefined): WorkParts {
    const { cloud, signal: stopping } = this.#parts;
    const both = signal === undefined ? stopping : AbortSignal.any([stopping, signal]);
    return { ...this.#parts, ...cloud!, signal: both };
  }

  #copies(doing: string): CloudCopies {
    const { cloud, cloudSettings } = this.#parts;
    if (cloud === null || cloudSettings === null) {
      throw new StorageError('unavailable', `Cannot ${doing}: the cloud is off`);
    }
    if (isHostKey(cloudSettings.key)) {
      const state =
        'this host has a key of its own, and is to hold none that opens more. Do it where the secret key is';
      throw new StorageError('forbidden', `Cannot ${doing}: ${state}`);
    }
    return cloud.copies;
  }
}
