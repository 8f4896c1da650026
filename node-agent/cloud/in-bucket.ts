import { folderName, parseObjectKey, type Ref } from '../contract.ts';
import type { ListedArchive, ObjectPlace } from './objects.ts';
import type { ProjectFile } from './project-file.ts';

/** What lies in a bucket of each generation of a project, by ref: several archives of one that was replaced. */
export type ListedArchives = Map<string, { ref: Ref; listed: ListedArchive[] }>;

/** A generation as a bucket knows it. */
export type InBucket = Readonly<{
  ref: Ref;
  /** Where its archive is: the one that was sent last comes first, of several contents. */
  places: readonly ObjectPlace[];
  /** What it has to hold; `null` where nobody wrote that down. */
  digest: string | null;
  /** Of the archive that was sent last; `null` where the bucket says none. */
  bytes: number | null;
}>;

/** The archives of a project; what is no archive is passed over. */
export async function listedArchives(
  archives: AsyncIterable<ListedArchive>,
): Promise<ListedArchives> {
  const byRef: ListedArchives = new Map();
  for await (const archive of archives) {
    const ref = parseObjectKey(archive.key);
    if (ref === null) continue;
    const name = folderName(ref);
    const known = byRef.get(name);
    if (known === undefined) byRef.set(name, { ref, listed: [archive] });
    else known.listed.push(archive);
  }
  return byRef;
}

/** The generations of a project that are there and not deleted, by what its file says. */
export function* generationsInBucket(
  bucket: string,
  file: ProjectFile | null,
  archives: ListedArchives,
): Generator<InBucket> {
  const nameOf = (one: { version: number; generation_id: string }) =>
    folderName({ version: one.version, generationId: one.generation_id });
  const gone = new Set((file?.deleted ?? []).map(nameOf));
  const replaced = new Map((file?.replaced ?? []).map((one) => [nameOf(one), one.digest ?? null]));
  for (const [name, { ref, listed }] of archives) {
    if (gone.has(name)) continue;
    const sorted = listed.toSorted((a, b) => b.createdAt.localeCompare(a.createdAt));
    yield {
      ref,
      places: sorted.map(({ key }) => ({ bucket, key })),
      digest: replaced.get(name) ?? null,
      bytes: sorted[0]?.bytes ?? null,
    };
  }
}
