import { randomUUID } from 'node:crypto';
import type { Ref } from '../contract.ts';
import type { Database } from './database.ts';
import type { Position } from './generation-row.ts';

/** What of the disk is still to be read into the catalog. */
export type ScanState = Readonly<{
  /** In which run of the machine all of it was read; `null`: in none. */
  boot: string | null;
  /** Why nothing is believed until it is read: a mark for each such time; `null`: it is believed. */
  distrusted: string | null;
  /** Projects of which the last change may be missing, each with a mark. */
  unread: Readonly<Record<string, string>>;
}>;

/** From when on the cloud was away or refused, in ISO 8601, and what it said last. */
export type CloudAway = Readonly<{ since: string; cause: 'away' | 'refused'; reason: string }>;

/** How far all that is kept was read, to find what is damaged. */
export type ScrubState = Readonly<{
  /** When the last part was begun, in milliseconds. */
  readAt: number;
  /** How many generations are due, with the part of one that is not whole yet, and after which it goes on. */
  due: number;
  after: Position | null;
  /** The same of cached copies, by their paths. */
  copiesDue: number;
  copiesAfter: string;
  /** Since when all of it is read once, how many were so far, and how many were damaged. */
  beganAt: string;
  checked: number;
  damaged: number;
  /** When all had been read the last time; `null`: never yet. */
  endedAt: string | null;
}>;

/** What is known of the store as a whole: the table of meta. */
export class Meta {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** What of the disk is still to be read into the catalog. */
  get scan(): ScanState {
    const found = this.#all('scanned_boot', 'distrusted', 'unread');
    return {
      boot: found.get('scanned_boot') ?? null,
      distrusted: found.get('distrusted') ?? null,
      unread: JSON.parse(found.get('unread') ?? '{}'),
    };
  }

  /** Notes that all was read, unless the catalog is distrusted anew. */
  setScanned(bootId: string, distrusted: string | null): void {
    if (this.#find('distrusted') !== distrusted) return;
    this.#set('scanned_boot', bootId);
    this.#drop('distrusted');
  }

  /** From now on nothing is believed until it is compared with the disk. */
  distrust(mark: string): void {
    this.#set('distrusted', mark);
    this.#drop('scanned_boot');
    this.#drop('unread');
    // Of a catalog that was put back: what happened since has the same numbers as what comes.
    this.#drop('event_log_id');
  }

  /** One project is to be read. */
  addUnread(projectId: string): void {
    this.#set('unread', JSON.stringify({ ...this.scan.unread, [projectId]: randomUUID() }));
  }

  /** It is read, unless it is to be read anew. */
  dropUnread(projectId: string, mark: string): void {
    const { [projectId]: current, ...rest } = this.scan.unread;
    if (current === mark) this.#set('unread', JSON.stringify(rest));
  }

  /** How many changes of what lies on disk were counted here. */
  get epoch(): number {
    const count = Number(this.#find('epoch') ?? 0);
    return Number.isSafeInteger(count) ? count : 0;
  }

  setEpoch(count: number): void {
    this.#set('epoch', String(count));
  }

  /** Up to which number changes in the cloud are known; 0 at first. */
  get changesSeen(): number {
    return Number(this.#find('changes_seen') ?? 0);
  }

  setChangesSeen(number: number): void {
    this.#set('changes_seen', String(number));
  }

  /** Up to where it is known what is active in the cloud; `null` at first. */
  get activeSeen(): string | null {
    return this.#find('active_seen');
  }

  setActiveSeen(notedAt: string | null): void {
    if (notedAt === null) this.#drop('active_seen');
    else this.#set('active_seen', notedAt);
  }

  /** Under which id this store is known to the cloud. */
  get hostId(): string {
    return this.#make('host_id');
  }

  /** Which log of events this is: a catalog that is made again counts them anew. */
  get eventLogId(): string {
    return this.#make('event_log_id');
  }

  #make(key: string): string {
    const known = this.#find(key);
    if (known !== null) return known;
    // Of several processes that ask at once, one is heard.
    this.#db.run('insert or ignore into meta (key, value) values (?, ?)', key, randomUUID());
    return this.#find(key)!;
  }

  /** That the cloud was away, or refused, when it was asked last; `null` where it answered. */
  get cloudAway(): CloudAway | null {
    const text = this.#find('cloud_away');
    return text === null ? null : (JSON.parse(text) as CloudAway);
  }

  /** @param away as long as it is away it counts from when that began */
  setCloudAway(away: CloudAway | null): void {
    if (away === null) this.#drop('cloud_away');
    else {
      this.#set(
        'cloud_away',
        JSON.stringify({ ...away, since: this.cloudAway?.since ?? away.since }),
      );
    }
  }

  /** How far all was read; `null`: nothing was yet. */
  get scrub(): ScrubState | null {
    const text = this.#find('scrub');
    return text === null ? null : (JSON.parse(text) as ScrubState);
  }

  setScrub(state: ScrubState): void {
    this.#set('scrub', JSON.stringify(state));
  }

  /** Notes that something could be written. */
  setTried(): void {
    this.#set('tried', randomUUID());
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

  #all(...keys: readonly string[]): Map<string, string> {
    const places = keys.map(() => '?').join(', ');
    const sql = `select key, value from meta where key in (${places})`;
    const rows = this.#db.all<{ key: string; value: string }>(sql, ...keys);
    return new Map(rows.map(({ key, value }) => [key, value]));
  }

  #drop(key: string): void {
    this.#db.run('delete from meta where key = ?', key);
  }

  #find(key: string): string | null {
    const row = this.#db.get<{ value: string }>('select value from meta where key = ?', key);
    return row?.value ?? null;
  }

  #set(key: string, value: string): void {
    this.#db.run('insert or replace into meta (key, value) values (?, ?)', key, value);
  }
}
