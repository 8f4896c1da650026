import type { CloudObjects } from '../cloud/cloud.ts';
import { generationsInBucket, type ListedArchives, listedArchives } from '../cloud/in-bucket.ts';
import type { ProjectFile, ProjectFileReader } from '../cloud/project-file.ts';
import { formatRef, parseObjectKey, StorageError } from '../contract.ts';
import type { Found } from './known.ts';

/** A bucket that says what there is: that of the cloud, or a replica. */
export type BucketSource = Readonly<{
  objects: Pick<CloudObjects, 'bucket' | 'listProjects' | 'listArchives' | 'download'>;
  projectFiles: Pick<ProjectFileReader, 'begin' | 'read' | 'end'>;
}>;

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
    const archives = await listedArchives(objects.listArchives(projectId));
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
  archives: ListedArchives,
): Generator<Found> {
  // A folder that is nothing of ours.
  if (file === null && archives.size === 0) return;
  yield { kind: 'project', ...projectOf(projectId, file, archives) };
  for (const { version, generation_id: generationId, ...of } of file?.deleted ?? []) {
    const ref = { projectId, version, generationId };
    const { digest = null, deleted_at: deletedAt } = of;
    yield { kind: 'deletion', ref, digest, deletedAt, epoch: null };
  }
  for (const found of generationsInBucket(bucket, file, archives)) {
    yield { kind: 'generation', ...found, sha256: null, recorded: null };
  }
}

function projectOf(projectId: string, file: ProjectFile | null, archives: ListedArchives) {
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
