import { randomUUID } from 'node:crypto';
import type { Ref } from '../contract.ts';
import type { Database } from './database.ts';

/** What is known of the store as a whole: the table of meta. */
export class Meta {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** In which run of the machine the whole disk was read into the catalog; `null`: in none. */
  get scannedBoot(): string | null {
    return this.#find('scanned_boot');
  }

  setScannedBoot(bootId: string): void {
    this.#set('scanned_boot', bootId);
  }

  /** Up to where changes in the cloud are known; `null` at first. */
  get changesSeen(): string | null {
    return this.#find('changes_seen');
  }

  setChangesSeen(changedAt: string | null): void {
    if (changedAt === null) this.#db.run(`delete from meta where key = 'changes_seen'`);
    else this.#set('changes_seen', changedAt);
  }

  /** Under which id this store is known to the cloud. */
  get hostId(): string {
    const known = this.#find('host_id');
    if (known !== null) return known;
    // Of several processes that ask at once, one is heard.
    this.#db.run('insert or ignore into meta (key, value) values (?, ?)', 'host_id', randomUUID());
    return this.#find('host_id')!;
  }

  /** How often this store checked in with the cloud. */
  get checkIns(): number {
    return Number(this.#find('check_ins') ?? 0);
  }

  setCheckIns(count: number): void {
    this.#set('check_ins', String(count));
  }

  /** What the cloud was last known to have, and to have deleted: a database that knows less is older. */
  witnesses(): { ref: Ref; isDeleted: boolean }[] {
    return ['witness_stored', 'witness_deleted'].flatMap((key) => {
      const text = this.#find(key);
      return text === null
        ? []
        : [{ ref: JSON.parse(text) as Ref, isDeleted: key === 'witness_deleted' }];
    });
  }

  setWitness(ref: Ref, isDeleted: boolean): void {
    this.#set(isDeleted ? 'witness_deleted' : 'witness_stored', JSON.stringify(ref));
  }

  dropWitnesses(): void {
    this.#db.run(`delete from meta where key in ('witness_stored', 'witness_deleted')`);
  }

  #find(key: string): string | null {
    const row = this.#db.get<{ value: string }>('select value from meta where key = ?', key);
    return row?.value ?? null;
  }

  #set(key: string, value: string): void {
    this.#db.run('insert or replace into meta (key, value) values (?, ?)', key, value);
  }
}
