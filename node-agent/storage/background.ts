import { StorageError } from '../contract.ts';
import type { Copiers } from '../replicate/copiers.ts';
import { Repeated } from '../threads/repeated.ts';
import { within } from '../threads/within.ts';
import type { Scan } from '../upkeep/scan.ts';
import { SCRUB_EVERY_MS } from '../upkeep/scrub.ts';
import type { Upkeep } from '../upkeep/upkeep.ts';
import type { Outbox } from '../upload/outbox.ts';
import type { Uploads } from '../upload/uploads.ts';
import type { Courier } from '../webhooks/courier.ts';

/** How often changes in the cloud are looked for, in milliseconds. */
const CHANGES_MS = 60_000;
/** How often is purged what is kept no longer, and what nothing needs and nobody removed, in milliseconds. */
const PURGE_MS = 3_600_000;
/** How often it is looked whether the file system is nearly full, in milliseconds. */
const PRESSURE_MS = 60_000;
/** After which time a scan goes on that could not be ended, in milliseconds. */
const SCAN_AGAIN_MS = 60_000;
/** How often it is looked which replicas there are, in milliseconds. */
const REPLICAS_MS = 30_000;

type Parts = Readonly<{
  scan: Scan;
  upkeep: Upkeep;
  /** `null` while the cloud is off. */
  outbox: Outbox | null;
  uploads: Uploads;
  courier: Courier;
  /** `null` where no replica is filled by this host. */
  copiers: Copiers | null;
  /** Evicts cached copies and trees; those that are too old or too much only where it is asked for. */
  evict: (isTooMuch: boolean) => Promise<unknown>;
  /** Purges what is kept no longer. */
  purge: () => Promise<unknown>;
  /** Reads a part of what is kept, and mends what is damaged. */
  scrub: () => Promise<unknown>;
  /** Takes room for a full disk, where there is plenty. */
  keepReserve: () => Promise<void>;
  cleanupEveryMs: number | null;
  /** Whether more than the scan goes on. */
  isOn: boolean;
  onProblem: (error: unknown) => void;
}>;

/** What goes on beside what is asked for: uploads, upkeep, and what is done again and again. */
export class Background {
  readonly #parts: Parts;
  readonly #repeated: readonly Repeated[];
  /** What a command ends before: a daemon does it. */
  readonly #later: readonly Repeated[];

  constructor(parts: Parts) {
    this.#parts = parts;
    const { onProblem } = parts;
    // Also where nothing else goes on: every answer is of what lies on disk.
    const scan = new Repeated(() => this.#scan(), SCAN_AGAIN_MS, onProblem);
    this.#repeated = parts.isOn ? [scan, ...this.#others()] : [scan];
    const tell = (error: unknown) => this.#tell(error);
    this.#later = [
      new Repeated(() => parts.purge(), PURGE_MS, tell),
      new Repeated(() => parts.uploads.writeProjectFiles(), CHANGES_MS, tell),
      new Repeated(() => parts.scrub(), SCRUB_EVERY_MS, tell),
    ];
  }

  start(): void {
    this.wake();
    for (const repeated of this.#repeated) repeated.start();
    if (this.#parts.isOn) for (const repeated of this.#later) repeated.startLater();
  }

  /** Looks for work, after something was added. */
  wake(): void {
    if (!this.#parts.isOn) return;
    this.#parts.outbox?.wake();
    this.#parts.upkeep.wake();
    this.#parts.copiers?.wake();
    this.wakeCourier();
  }

  /** Looks for what webhooks are to be told, after something happened. */
  wakeCourier(): void {
    if (this.#parts.isOn) this.#parts.courier.wake();
  }

  /** Waits until each save has its archive. @param timeoutMs the longest wait */
  async settled(timeoutMs: number): Promise<void> {
    if (this.#parts.isOn) await this.#parts.upkeep.settled(timeoutMs);
  }

  /** Waits until webhooks are told what they can be now. @param timeoutMs the longest wait */
  async told(timeoutMs: number): Promise<void> {
    if (this.#parts.isOn) await this.#parts.courier.drain(timeoutMs);
  }

  /** Ends what is being copied into replicas, and tells the cloud that others may. @param timeoutMs the longest wait */
  async giveCopiesBack(timeoutMs: number): Promise<void> {
    await within(timeoutMs, this.#parts.copiers?.stop() ?? Promise.resolve());
  }

  /** Begins to end it all; what is returned waits for the end. */
  async stop(): Promise<void> {
    const { scan, outbox, upkeep, courier, copiers } = this.#parts;
    await Promise.all([
      scan.stop(),
      outbox?.stop(),
      upkeep.stop(),
      courier.stop(),
      copiers?.stop(),
      ...[...this.#repeated, ...this.#later].map((repeated) => repeated.stop()),
    ]);
  }

  async #scan(): Promise<void> {
    const { scan } = this.#parts;
    if (scan.progress === null) return;
    await scan.whole();
    this.wake();
  }

  /** The cloud that is away is the outbox's to tell of, once. */
  #tell(error: unknown): void {
    if (!(error instanceof StorageError && error.retryable)) this.#parts.onProblem(error);
  }

  #others(): Repeated[] {
    const { outbox, uploads, copiers, evict, keepReserve, cleanupEveryMs, onProblem } = this.#parts;
    const tell = (error: unknown) => this.#tell(error);
    const others: Repeated[] = [];
    if (outbox !== null) {
      others.push(
        new Repeated(() => uploads.learnChanges(), CHANGES_MS, tell),
        new Repeated(() => uploads.exchangeActive(), CHANGES_MS, tell),
        new Repeated(() => uploads.removeUnneeded(), PURGE_MS, tell),
      );
    }
    if (copiers !== null) others.push(new Repeated(() => copiers.look(), REPLICAS_MS, tell));
    let isFirst = true;
    const relieve = async () => {
      await evict(false);
      // At a start the first save that is settled does it.
      if (!isFirst) await keepReserve().catch(() => {});
      isFirst = false;
    };
    others.push(new Repeated(relieve, PRESSURE_MS, onProblem));
    if (cleanupEveryMs !== null) {
      others.push(new Repeated(() => evict(true), cleanupEveryMs, onProblem));
    }
    return others;
  }
}
