import { type GenerationRow, keyOf, refOf, statusOf } from '../catalog/generation-row.ts';
import type { Ref, Status } from '../contract.ts';

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
  }
>;

/** @param isCloudOn whether what is saved is on its way to the cloud */
export function summaryOf(row: GenerationRow, isCloudOn: boolean): Summary {
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
  };
}
