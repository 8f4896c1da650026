import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import type { Reservation } from '../cloud/recording.ts';
import type { ArchiveFacts } from '../store/hash.ts';
import { archiveOf } from '../upkeep/archive-of.ts';
import type { Parts } from './parts.ts';

/** A generation whose archive's hashes are known. */
export type HashedRow = GenerationRow & { sha256: string; md5: string; archive_bytes: number };

/** The row with its hashes, which a rebuilt catalog may not have. */
export async function withHashes(parts: Parts, row: GenerationRow): Promise<HashedRow> {
  const { sha256, md5, archive_bytes } = row;
  if (sha256 !== null && md5 !== null && archive_bytes !== null) {
    return { ...row, sha256, md5, archive_bytes };
  }
  return noteHashes(parts, row, await archiveOf(parts, refOf(row)));
}

/** Notes what the archive is now. */
export async function noteHashes(
  { catalog }: Parts,
  row: GenerationRow,
  { sha256, md5, bytes }: ArchiveFacts,
): Promise<HashedRow> {
  await catalog.write(() =>
    catalog.generations.update(refOf(row), { sha256, md5, archive_bytes: bytes }),
  );
  return { ...row, sha256, md5, archive_bytes: bytes };
}

export function reservationOf({ catalog }: Parts, row: HashedRow): Reservation {
  const ref = refOf(row);
  return {
    ref,
    digest: row.digest,
    sha256: row.sha256,
    md5: row.md5,
    archiveBytes: row.archive_bytes,
    sourceBytes: row.source_bytes ?? 0,
    fileCount: row.file_count ?? 0,
    createdAt: row.created_at,
    // The one that was named with this save, also where the project has another: the cloud
    // refuses it then.
    ownerId: row.owner_id ?? catalog.projects.ownerOf(ref.projectId),
    replace: row.is_replacement === 1,
    hostId: catalog.meta.hostId,
    sentKey: row.object_key,
  };
}
