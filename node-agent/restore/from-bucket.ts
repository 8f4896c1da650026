import type { CloudObjects } from '../cloud/cloud.ts';
import type { ListedArchive } from '../cloud/objects.ts';
import type { ProjectFile, ProjectFileReader } from '../cloud/project-file.ts';
import { folderName, formatRef, parseObjectKey, type Ref, StorageError } from '../contract.ts';
import type { Found } from './known.ts';

/** A bucket that says what there is: that of the cloud, or a replica. */
export type BucketSource = Readonly<{
  objects: Pick<CloudObjects, 'bucket' | 'listProjects' | 'listArchives' | 'download'>;
  projectFiles: Pick<ProjectFileReader, 'begin' | 'read' | 'end'>;
}>;

/** What lies in the bucket of each generation, by ref: several archives of one that was replaced. */
type Archives = Map<string, { ref: Ref; listed: ListedArchive[] }>;

/**
 * What lies in the bucket, project by project: archives, and what the file of a project says of them. What is
 * deleted comes before what is there.
 *
 * @param isToBegin whether the files are kept as they are until {@link ProjectFileReader.end}
 */
export async function* foundInBucket(
  { objects, projectFiles }: BucketSource,
  only: string | null,
  isToBegin: boolean,
): AsyncGenerator<Found> {
  for await (const projectId of objects.listProjects(only)) {
    const archives: Archives = new Map();
    for await (const archive of objects.listArchives(projectId)) {
      const ref = parseObjectKey(archive.key);
      if (ref === null) continue;
      const name = folderName(ref);
      const known = archives.get(name);
      if (known === undefined) archives.set(name, { ref, listed: [archive] });
      else known.listed.push(archive);
    }
    let file: ProjectFile | null;
    try {
      file = isToBegin ? await projectFiles.begin(projectId) : await projectFiles.read(projectId);
    } catch (error) {
      // Without it nobody knows what was deleted: nothing of the project is taken for what is there.
      if (!(error instanceof StorageError) || error.code !== 'corrupt') throw error;
      for (const { ref } of archives.values()) {
        yield { kind: 'absent', ref, reason: `Cannot restore ${formatRef(ref)}: ${error.message}` };
      }
      continue;
    }
    yield* foundOf(objects.bucket, projectId, file, archives);
  }
}

/** How many generations there are to restore, at most. */
export async function countInBucket(
  { objects }: BucketSource,
  only: string | null,
): Promise<number> {
  let count = 0;
  for await (const projectId of objects.listProjects(only)) {
    for await (const { key } of objects.listArchives(projectId)) {
      if (parseObjectKey(key) !== null) count++;
    }
  }
  return count;
}

function* foundOf(
  bucket: string,
  projectId: string,
  file: ProjectFile | null,
  archives: Archives,
): Generator<Found> {
  // A folder that is nothing of ours.
  if (file === null && archives.size === 0) return;
  yield { kind: 'project', ...projectOf(projectId, file, archives) };
  const gone = new Set<string>();
  for (const { version, generation_id: generationId, ...of } of file?.deleted ?? []) {
    const ref = { projectId, version, generationId };
    gone.add(folderName(ref));
    const { digest = null, deleted_at: deletedAt } = of;
    yield { kind: 'deletion', ref, digest, deletedAt, epoch: null };
  }
  const current = new Map(
    (file?.replaced ?? []).map(({ version, generation_id: generationId, digest }) => [
      folderName({ version, generationId }),
      digest ?? null,
    ]),
  );
  for (const [name, { ref, listed }] of archives) {
    if (gone.has(name)) continue;
    const sorted = listed.toSorted((a, b) => b.createdAt.localeCompare(a.createdAt));
    const places = sorted.map(({ key }) => ({ bucket, key }));
    const digest = current.get(name) ?? null;
    const bytes = sorted[0]?.bytes ?? null;
    yield { kind: 'generation', ref, places, digest, sha256: null, bytes, recorded: null };
  }
}

function projectOf(projectId: string, file: ProjectFile | null, archives: Archives) {
  let latestVersion = file?.latest_version ?? 0;
  for (const { ref } of archives.values()) latestVersion = Math.max(latestVersion, ref.version);
  const { active } = file ?? {};
  const activation =
    active === undefined
      ? null
      : {
          ref: { projectId, version: active.version, generationId: active.generation_id },
          at: Date.parse(active.activated_at ?? '') || 0,
        };
  return { projectId, ownerId: file?.owner_id ?? null, latestVersion, activation };
}
