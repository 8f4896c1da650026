import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { notFound, type Ref } from '../contract.ts';
import { archiveOf, packAgain } from '../upkeep/archive-of.ts';

/** Larger ones are not compared with their hash before they are read: that is read twice then. */
export const CHECKED_BYTES = 16 * 1024 * 1024;

/** An archive in the store. */
export type ArchiveOnDisk = Readonly<
  Ref & {
    path: string;
    bytes: number;
    sha256: string;
    /** What a browser is to save it as. */
    filename: string;
  }
>;

/** The archive of a stored generation. @throws StorageError `not_found`, `corrupt` */
export async function getArchive(
  parts: Parameters<typeof archiveOf>[0],
  row: GenerationRow,
): Promise<ArchiveOnDisk> {
  const ref = refOf(row);
  if (!parts.store.has(ref) || row.digest === null) throw notFound(ref);
  const found = await archiveOf(parts, ref);
  const isChecked = found.bytes <= CHECKED_BYTES;
  const isDamaged = isChecked && !(await parts.store.archives.isSound(ref));
  const { path, bytes, sha256 } = isDamaged ? await packAgain(parts, ref) : found;
  return { ...ref, path, bytes, sha256, filename: archiveName(ref) };
}

/** What a browser saves an archive as. */
export function archiveName({ projectId, version }: Ref): string {
  return `${projectId}-v${version}.tar.gz`;
}
