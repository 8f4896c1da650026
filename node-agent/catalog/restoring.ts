/** What a restore changes in the catalog. */
import type { Ref } from '../contract.ts';
import type { Catalog } from './catalog.ts';
import type { StoredFacts } from './generation-row.ts';
import { checkHolder, finishSave } from './saving.ts';

/** What the database says of what was restored. */
export type RecordedFacts = Readonly<{
  status: 'uploaded' | 'verified';
  objectKey: string;
  uploadedAt: string | null;
  epoch: number;
}>;

/** What was put in place, and when it was saved, in ISO 8601. */
export type RestoredFacts = Readonly<{ facts: StoredFacts; createdAt: string }>;

/**
 * Notes that a generation is in place whose bytes came from the cloud. What the database has not down as verified
 * is owed to it.
 */
export function noteRestored(
  catalog: Catalog,
  ref: Ref,
  { facts, createdAt }: RestoredFacts,
  { status, objectKey, uploadedAt, epoch }: RecordedFacts,
  now: number,
): void {
  const { generations, jobs } = catalog;
  catalog.transaction(() => {
    checkHolder(catalog, ref);
    catalog.countUp(ref.projectId);
    catalog.projects.ensure(ref.projectId);
    generations.putStored(ref, facts, createdAt);
    generations.update(ref, {
      ...{ status, failure: null, provisional: 0, object_key: objectKey },
      ...{ uploaded_at: uploadedAt, cloud_digest: null, replaced_digest: null },
    });
    generations.setCloudEpoch(ref, epoch);
    // What is to be told of a deletion, or that it was undone, is told all the same.
    if (jobs.isDeletionOwed(ref)) return;
    if (status === 'verified') jobs.dropUnleased(ref);
    else jobs.owe(ref, 'reserve', now);
  });
}

/** Notes that a generation is in place of which the bucket alone knew: the database is told. */
export function noteFound(
  catalog: Catalog,
  ref: Ref,
  { facts, createdAt }: RestoredFacts,
  objectKey: string,
  now: number,
): void {
  catalog.transaction(() => {
    finishSave(catalog, ref, facts, createdAt, now);
    catalog.generations.update(ref, { object_key: objectKey });
  });
}
