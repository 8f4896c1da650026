import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import type { Reservation } from '../cloud/recording.ts';
import { noteArchive } from '../upkeep/archive-of.ts';
import type { Parts } from './parts.ts';

/** A generation whose archive's hashes are known. */
export type HashedRow = GenerationRow & { sha256: string; md5: string; archive_bytes: number };

/**
 * The row with its hashes, which it has not before it is settled, or where the catalog was made again.
 *
 * @returns `null` where it was replaced since it was read: the hashes are of other content
 */
export async function withHashes(parts: Parts, row: GenerationRow): Promise<HashedRow | null> {
  const { sha256, md5, archive_bytes } = row;
  if (sha256 !== null && md5 !== null && archive_bytes !== null) {
    return { ...row, sha256, md5, archive_bytes };
  }
  const archive = await noteArchive(parts, refOf(row));
  if (archive.digest !== row.digest) return null;
  return { ...row, sha256: archive.sha256, md5: archive.md5, archive_bytes: archive.bytes };
}

/** @param row its MD5 may be unknown where it is in the cloud */
export function reservationOf(
  { store, catalog }: Parts,
  row: GenerationRow & Pick<HashedRow, 'sha256' | 'archive_bytes'>,
): Reservation {
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
    earlierKeys: JSON.parse(row.earlier_keys),
    undeletedAt: store.tombstones.undeletedAt(ref),
  };
}
