import type { Step } from '../catalog/jobs.ts';
import type { StorageError } from '../contract.ts';

/** What a step of a job can come to. */
export const OUTCOMES = [
  /** It did what it is for. */
  'done',
  /** The cloud has the content, as it says: its bytes are to be proven. */
  'there',
  /** The bytes are proven to be in the cloud, and recorded. */
  'proven',
  /** What it went by is not so any more. */
  'changed',
  /** The bucket has not what it was thought to have. */
  'missing',
  /** Nothing is owed any more: deleted, replaced, renumbered, or taken over from the cloud. */
  'obsolete',
  /** It failed, and may succeed later. */
  'failed',
  /** It failed for good, as things are. */
  'refused',
] as const;

export type Outcome = (typeof OUTCOMES)[number];

/**
 * What comes after an outcome: another step at once (`go`), or after a while (`again`); the end of the
 * job; the end of the upload, which the cloud is told (`give_up`); or nothing, until somebody has it
 * tried again (`park`).
 */
export type Next = Readonly<{ go: Step }> | Readonly<{ again: Step }> | 'end' | 'give_up' | 'park';

/** The life of a job: `README.md` draws it. */
export const LIFE: Readonly<Record<Step, Readonly<Record<Outcome, Next>>>> = {
  reserve: {
    done: { go: 'upload' },
    there: { go: 'verify' },
    proven: 'end',
    changed: { again: 'reserve' },
    missing: { go: 'upload' },
    obsolete: 'end',
    failed: { again: 'reserve' },
    refused: 'give_up',
  },
  upload: {
    done: { go: 'record' },
    there: { go: 'verify' },
    proven: 'end',
    changed: { go: 'reserve' },
    missing: { again: 'reserve' },
    obsolete: 'end',
    failed: { again: 'upload' },
    refused: 'give_up',
  },
  record: {
    done: { go: 'verify' },
    there: { go: 'verify' },
    proven: 'end',
    changed: { go: 'reserve' },
    missing: { again: 'reserve' },
    obsolete: 'end',
    failed: { again: 'record' },
    refused: 'give_up',
  },
  verify: {
    // Proven, and not recorded: there is no database yet.
    done: { go: 'reserve' },
    there: { go: 'verify' },
    proven: 'end',
    changed: { go: 'reserve' },
    missing: { again: 'reserve' },
    obsolete: 'end',
    failed: { again: 'verify' },
    refused: 'give_up',
  },
  fail: {
    done: 'park',
    there: 'park',
    proven: 'park',
    changed: 'park',
    missing: 'park',
    obsolete: 'end',
    failed: { again: 'fail' },
    refused: 'park',
  },
  delete: {
    done: 'end',
    there: { again: 'delete' },
    proven: { again: 'delete' },
    changed: { again: 'delete' },
    missing: 'end',
    obsolete: 'end',
    failed: { again: 'delete' },
    refused: 'park',
  },
  undelete: {
    done: { go: 'reserve' },
    there: { go: 'reserve' },
    proven: { go: 'reserve' },
    changed: { go: 'reserve' },
    missing: { go: 'reserve' },
    obsolete: 'end',
    failed: { again: 'undelete' },
    refused: 'give_up',
  },
};

/** What a step says that ended; one that failed throws. */
export type StepResult =
  | Exclude<Outcome, 'missing' | 'failed' | 'refused'>
  | Readonly<{ outcome: 'missing'; because: StorageError }>;
