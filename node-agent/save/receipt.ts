import { refOf, statusOf } from '../catalog/generation-row.ts';
import type { Ref, Status } from '../contract.ts';
import type { Layout } from '../store/layout.ts';
import type { LeftOut } from '../store/left-out.ts';
import type { Saved } from './save.ts';

/** What a save returns: from here on the generation cannot be lost. */
export type Receipt = Readonly<
  Ref & {
    status: Status;
    /**
     * Whether the version was chosen without the cloud, which was away: where it has that version,
     * this generation gets another one.
     */
    versionProvisional: boolean;
    /** False where the same content was there already. */
    created: boolean;
    path: string;
    fileCount: number;
    /** Bytes of the files. */
    bytes: number;
    digest: string;
    /** What of a folder or a tar was not saved: how much, and the first of it by name. */
    leftOut: LeftOut;
  }
>;

/** @param isCloudOn whether what is saved is on its way to the cloud */
export function receiptOf(
  { row, created, leftOut }: Saved,
  layout: Layout,
  isCloudOn: boolean,
): Receipt {
  const ref = refOf(row);
  return {
    ...ref,
    versionProvisional: isCloudOn && row.provisional === 2,
    status: statusOf(row, isCloudOn),
    created,
    path: layout.generation(ref),
    fileCount: row.file_count ?? 0,
    bytes: row.source_bytes ?? 0,
    digest: row.digest ?? '',
    leftOut,
  };
}
