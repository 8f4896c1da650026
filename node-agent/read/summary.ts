import { type GenerationRow, keyOf, refOf, statusOf } from '../catalog/generation-row.ts';
import { type Ref, type Status, StorageError } from '../contract.ts';
import type { Store } from '../store/store.ts';
import { within } from '../threads/within.ts';
import type { Opener } from './open.ts';

/** What is known of a generation without reading its files. */
export type Summary = Readonly<
  Ref & {
    status: Status;
    /** Why the upload is parked. */
    failure: string | null;
    fileCount: number | null;
    bytes: number | null;
    archiveBytes: number | null;
    digest: string | null;
    sha256: string | null;
    objectKey: string;
    createdAt: string;
    uploadedAt: string | null;
    /** Its folder in the store; `null` where the cloud alone has it. */
    localPath: string | null;
  }
>;

/** @param parts.isCloudOn whether what is saved is on its way to the cloud */
export function summaryOf(
  row: GenerationRow,
  { store, isCloudOn }: Readonly<{ store: Store; isCloudOn: boolean }>,
): Summary {
  return {
    ...refOf(row),
    status: statusOf(row, isCloudOn),
    failure: row.failure,
    fileCount: row.file_count,
    bytes: row.source_bytes,
    archiveBytes: row.archive_bytes,
    digest: row.digest,
    sha256: row.sha256,
    objectKey: keyOf(row),
    createdAt: row.created_at,
    uploadedAt: row.uploaded_at,
    localPath: store.folderOf(refOf(row)),
  };
}

/** How long the cloud may take, in milliseconds, ... */
const CLOUD_MS = 2000;
/** ... and how large an archive may be that is got to be shown. */
const SMALL_BYTES = 8 * 1024 * 1024;

/** What was saved with a generation, from wherever it is; `null` where that cannot be read at once. */
export async function readMetadata(
  { store, opener }: Readonly<{ store: Store; opener: Opener }>,
  { localPath, archiveBytes, ...ref }: Summary,
): Promise<Record<string, unknown> | null> {
  try {
    if (localPath !== null) return (await store.readManifest(ref)).metadata;
    if ((archiveBytes ?? 0) > SMALL_BYTES) return null;
    return await within(CLOUD_MS, metadataOf(opener, ref));
  } catch (error) {
    if (error instanceof StorageError) return null;
    throw error;
  }
}

async function metadataOf(opener: Opener, ref: Ref): Promise<Record<string, unknown>> {
  const generation = await opener.open(ref);
  await generation.close();
  return generation.manifest.metadata;
}
