import type { StorageEvent } from './events.ts';

/** What was done: counts, bytes, and how long it took in milliseconds. */
export type Activity = Readonly<{
  saves: number;
  /** Of the files that were saved. */
  savedBytes: number;
  saveMs: number;
  longestSaveMs: number;
  uploads: number;
  /** Of the archives that were sent. */
  uploadedBytes: number;
  uploadMs: number;
  longestUploadMs: number;
  /** Ways to the cloud that were given up. */
  failures: number;
  deletions: number;
}>;

export const NOTHING_DONE: Activity = {
  saves: 0,
  savedBytes: 0,
  saveMs: 0,
  longestSaveMs: 0,
  uploads: 0,
  uploadedBytes: 0,
  uploadMs: 0,
  longestUploadMs: 0,
  failures: 0,
  deletions: 0,
};

/** What an event adds to it; `null` for what is not counted. */
export function countsOf(event: StorageEvent): Partial<Activity> | null {
  switch (event.kind) {
    case 'generation.saved': {
      const ms = Math.round(event.ms);
      return { saves: 1, savedBytes: event.bytes, saveMs: ms, longestSaveMs: ms };
    }
    case 'generation.uploaded': {
      const ms = Math.round(event.ms);
      return { uploads: 1, uploadedBytes: event.bytes, uploadMs: ms, longestUploadMs: ms };
    }
    case 'generation.failed':
      return { failures: 1 };
    case 'generation.deleted':
      return { deletions: 1 };
    default:
      return null;
  }
}
