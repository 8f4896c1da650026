import type { CloudObjects, ListedArchive } from '../cloud/objects.ts';
import type { CloudProjectFiles, ProjectFile } from '../cloud/project-file.ts';
import { folderName, parseObjectKey, type Ref } from '../contract.ts';
import type { Found } from './known.ts';

type Parts = Readonly<{ objects: CloudObjects; projectFiles: CloudProjectFiles }>;

/** What lies in the bucket of each generation, by ref: several archives of one that was replaced. */
type Archives = Map<string, { ref: Ref; listed: ListedArchive[] }>;

/** What lies in the bucket, project by project: archives, and what the file of a project says of them. */
export async function* foundInBucket(parts: Parts, only: string | null): AsyncGenerator<Found> {
  let [projectId, archives]: [string | null, Archives] = [null, new Map()];
  for await (const archive of parts.objects.listArchives(only)) {
    const ref = parseObjectKey(archive.key);
    if (ref === null) continue;
    if (projectId !== ref.projectId) {
      if (projectId !== null) yield* foundOf(parts, projectId, archives);
      [projectId, archives] = [ref.projectId, new Map()];
    }
    const name = folderName(ref);
    const listed = archives.get(name)?.listed ?? [];
    archives.set(name, { ref, listed: [...listed, archive] });
  }
  if (projectId !== null) yield* foundOf(parts, projectId, archives);
}

/** How many generations there are to restore, at most. */
export async function countInBucket({ objects }: Parts, only: string | null): Promise<number> {
  let count = 0;
  for await (const { key } of objects.listArchives(only)) if (parseObjectKey(key) !== null) count++;
  return count;
}

async function* foundOf(
  { objects, projectFiles }: Parts,
  projectId: string,
  archives: Archives,
): AsyncGenerator<Found> {
  const file = await projectFiles.read(projectId);
  yield { kind: 'project', ...projectOf(projectId, file, archives) };
  const isOf = (ref: Ref) => (other: { version: number; generation_id: string }) =>
    other.version === ref.version && other.generation_id === ref.generationId;
  const gone = new Set<unknown>();
  for (const { ref, listed } of archives.values()) {
    const sorted = listed.toSorted((a, b) => b.createdAt.localeCompare(a.createdAt));
    const places = sorted.map(({ key }) => ({ bucket: objects.bucket, key }));
    const deletion = file?.deleted?.find(isOf(ref));
    if (deletion !== undefined) {
      gone.add(deletion);
      yield deletionOf(projectId, deletion, places);
      continue;
    }
    const digest = file?.replaced?.find(isOf(ref))?.digest ?? null;
    const [latest] = sorted;
    yield {
      kind: 'generation',
      ...{ ref, places, digest, sha256: null, bytes: latest?.bytes ?? null, recorded: null },
    };
  }
  // Of which nothing is in the bucket any more.
  for (const deletion of file?.deleted ?? []) {
    if (!gone.has(deletion)) yield deletionOf(projectId, deletion, []);
  }
}

function projectOf(projectId: string, file: ProjectFile | null, archives: Archives) {
  const versions = [...archives.values()].map(({ ref }) => ref.version);
  const latestVersion = Math.max(file?.latest_version ?? 0, ...versions);
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

function deletionOf(
  projectId: string,
  deletion: NonNullable<ProjectFile['deleted']>[number],
  places: readonly { bucket: string; key: string }[],
): Found {
  const { version, generation_id: generationId, deleted_at: deletedAt } = deletion;
  const { digest = null } = deletion;
  const ref = { projectId, version, generationId };
  return { kind: 'deletion', ref, digest, deletedAt, epoch: null, places };
}
