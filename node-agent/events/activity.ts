import type { StorageEvent } from './events.ts';

/** What an event adds to the counts of what was done. */
export type Counted = Readonly<{
  saves?: number;
  savedBytes?: number;
  saveMs?: number;
  longestSaveMs?: number;
  uploads?: number;
  uploadedBytes?: number;
  uploadMs?: number;
  longestUploadMs?: number;
  failures?: number;
  deletions?: number;
}>;

/** @returns `null` for what is not counted */
export function countsOf(event: StorageEvent): Counted | null {
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
