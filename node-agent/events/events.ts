import type { ErrorCode, Ref } from '../contract.ts';

/** The generation that an event is about, and the user whose it is. */
type About = Readonly<Ref & { ownerId: string | null }>;

/**
 * What becomes of a generation, and of the cloud: kept in the catalog, in the transaction that notes what is told,
 * so that whoever listens later hears of it too. Durations (`ms`) are milliseconds, sizes bytes.
 */
type LoggedEvents = Readonly<{
  /** A generation was saved, or other content put in its place (`replaced`). `bytes` are those of its files. */
  'generation.saved': About & {
    digest: string;
    files: number;
    bytes: number;
    replaced: boolean;
    ms: number;
  };
  /** Its archive was made: what is sent, and served. `bytes` are the archive's. */
  'generation.settled': About & { digest: string | null; sha256: string; bytes: number };
  /** Its archive was sent. */
  'generation.uploaded': About & {
    digest: string | null;
    sha256: string;
    bytes: number;
    ms: number;
  };
  /** The bytes of its archive are proven to be in the cloud. */
  'generation.verified': About & {
    digest: string | null;
    sha256: string | null;
    bytes: number | null;
  };
  /** Its way to the cloud was given up at a step, until somebody has it tried again. `reason` says why. */
  'generation.failed': About & { step: StepName; reason: string };
  /** It was deleted: here, or in the cloud, by the web app or another host, and therefore here. */
  'generation.deleted': About & { digest: string | null; where: 'here' | 'cloud' };
  /** Its deletion was undone: here, or in the cloud, by the web app or another host, and therefore here. */
  'generation.undeleted': About & { digest: string | null; where: 'here' | 'cloud' };
  /** It was saved anew under this version, for the cloud had given `from` to another. */
  'generation.renumbered': About & { from: number };
  /**
   * The cloud has other content under its name, or has the name for another one, so that what lies here is not
   * what others get. `reason` says which.
   */
  'generation.conflict': About & { reason: string };
  /**
   * Bytes of it were not what they were: in the `store`, in a copy in the `cache`, or in the `cloud`. `reason` says
   * how, `mended` whether another good copy has taken their place, or is on its way there.
   */
  'generation.damaged': About & {
    where: 'store' | 'cache' | 'cloud';
    reason: string;
    mended: boolean;
  };
  /** Neither this host nor the cloud has its bytes any more. */
  'generation.lost': About;
  /** Everything waits: the cloud is out of reach, or refuses the key or the plan. */
  'cloud.away': { cause: 'away' | 'refused'; reason: string };
  'cloud.back': object;
  /** The database knows less than it did: it was restored, or is another one. All is owed again. */
  'cloud.older': object;
}>;

/** What is told as it happens, and not kept: there is much of it, and it changes nothing. */
type PassingEvents = Readonly<{
  /** The same content was saved again, or put back where it was missing or damaged. */
  'generation.unchanged': About & { files: number; bytes: number; ms: number };
  /** A generation was got to be read. */
  'generation.read': About & {
    from: 'store' | 'cache' | 'cloud' | 'replica';
    files: number;
    bytes: number;
  };
  /**
   * Generations went from this host: copies in the `cache` that were too old or too much, originals in the
   * `store` that are proven to be in the cloud, or `trees` that an archive is kept of.
   */
  'store.evicted': { from: 'cache' | 'store' | 'trees'; generations: number; bytes: number };
  /** A step towards the cloud did not end well: it is tried again, or `givenUp`. */
  'attempt.failed': Omit<About, 'generationId'> & {
    step: StepName;
    code: ErrorCode;
    givenUp: boolean;
  };
  /** Something went wrong in the background. `reason` is a sentence, of a mistake of ours the stack. */
  problem: { code: ErrorCode; reason: string };
}>;

type StepName = 'reserve' | 'upload' | 'record' | 'verify' | 'fail' | 'delete' | 'undelete';

/** What can happen, and what is told of it: log lines, metrics and what is listened to come from it. */
export type EventMap = LoggedEvents & PassingEvents;

export type EventKind = keyof EventMap;

/** What is kept, of the kinds that there are. */
export const LOGGED_KINDS = [
  'generation.saved',
  'generation.settled',
  'generation.uploaded',
  'generation.verified',
  'generation.failed',
  'generation.deleted',
  'generation.undeleted',
  'generation.renumbered',
  'generation.conflict',
  'generation.damaged',
  'generation.lost',
  'cloud.away',
  'cloud.back',
  'cloud.older',
] as const satisfies (keyof LoggedEvents)[];

export type LoggedKind = (typeof LOGGED_KINDS)[number];

const LOGGED: ReadonlySet<string> = new Set(LOGGED_KINDS);

export function isLogged(kind: string): kind is LoggedKind {
  return LOGGED.has(kind);
}

/** The request that it came of; `null` where it came of none. */
type Requested = Readonly<{ requestId: string | null }>;

/**
 * What happened, and `at` which time, in ISO 8601 UTC. What is kept says which request it came of.
 */
export type StorageEvent = {
  [K in EventKind]: Readonly<{ kind: K; at: string } & EventMap[K]> &
    (K extends LoggedKind ? Requested : unknown);
}[EventKind];

/** Listens to what happens. */
export type OnEvent = (event: StorageEvent) => void;

/**
 * An event as it is told from where it happens. `ownerId` counts where the project has no owner yet.
 */
export type Told = {
  [K in EventKind]: Readonly<{ kind: K } & Omit<EventMap[K], 'ownerId'>> &
    Partial<Requested & Readonly<{ ownerId: string | null }>>;
}[EventKind];

/**
 * Tells what happens. Within a transaction of the catalog what is kept is a part of that, and fails with it;
 * else it never throws. Listeners are told once it is committed.
 */
export type Tell = (event: Told) => void;
