/** What a save changes in the catalog: it takes a place, and notes what lies there in the end. */
import { formatRef, MAX_VERSION, type Ref, StorageError } from '../contract.ts';
import type { Catalog } from './catalog.ts';
import { type GenerationRow, keysGivenFor, refOf, type StoredFacts } from './generation-row.ts';

/** Of a generation that is replaced again and again, so many keys are remembered. */
const MAX_KEYS = 16;

/** Where a save goes: a place of its own, or one that is stored or being saved already. */
export type SavePlace =
  | Readonly<{ kind: 'new'; ref: Ref }>
  | Readonly<{ kind: 'stored'; row: GenerationRow }>
  | Readonly<{ kind: 'saving'; row: GenerationRow }>;

type Want = Readonly<{
  projectId: string;
  /** Left out: that of the generation id where it is known, else the next free one. */
  version: number | null;
  generationId: string | null;
}>;

/**
 * Takes the place of a save, or tells who has it.
 *
 * @param by.above the next free version is higher than this
 * @throws StorageError `conflict`
 */
export function beginSave(
  catalog: Catalog,
  want: Want,
  by: Readonly<{ instanceId: string; makeId: () => string; createdAt: string; above: number }>,
): SavePlace {
  const { generations, projects } = catalog;
  return catalog.transaction(() => {
    const { projectId } = want;
    const provisional = want.version !== null ? 0 : projects.isLookedUp(projectId) ? 1 : 2;
    projects.ensure(projectId);
    const row = findPlace(catalog, want);
    if (row !== null) {
      const isTaken = want.generationId !== null && row.generation_id !== want.generationId;
      if (isTaken) throw refuse(row, `the version is held by generation "${row.generation_id}"`);
      if (row.state === 'deleted') throw refuse(row, 'it was deleted');
      // A stored one that an instance has locked is being replaced.
      return { kind: row.instance_id === null ? row.state : 'saving', row };
    }
    const version = want.version ?? nextVersion(catalog, projectId, by.above);
    const ref = { projectId, version, generationId: want.generationId ?? by.makeId() };
    const given = { instance_id: by.instanceId, created_at: by.createdAt } as const;
    generations.insertSaving(ref, { ...given, provisional });
    return { kind: 'new', ref };
  });
}

function findPlace({ generations }: Catalog, want: Want): GenerationRow | null {
  if (want.version !== null) return generations.find(want.projectId, want.version);
  if (want.generationId === null) return null;
  return generations.findLatest(want.projectId, want.generationId);
}

/**
 * The next version that is free, here and as far as is known in the cloud.
 *
 * @param above it is higher than this
 * @throws StorageError `conflict` where there is none
 */
export function nextVersion(
  { generations, projects }: Catalog,
  projectId: string,
  above = 0,
): number {
  const highest = [generations.highestVersion(projectId), projects.cloudVersionOf(projectId)];
  const next = Math.max(above, ...highest) + 1;
  if (next <= MAX_VERSION) return next;
  throw new StorageError('conflict', `Cannot save into "${projectId}": it has no free version`);
}

/**
 * Notes that a generation is in place, and what is owed for it: nothing for one of the Python
 * system, which has no digest, until it is migrated. May be repeated.
 *
 * @param isThere asked while no other process can write here: where it is not, nothing is noted
 */
export function finishSave(
  catalog: Catalog,
  ref: Ref,
  facts: StoredFacts,
  createdAt: string,
  now: number,
  isThere: () => boolean = () => true,
): void {
  catalog.transaction(() => {
    if (!isThere()) return;
    checkHolder(catalog, ref);
    catalog.countUp(ref.projectId);
    catalog.projects.ensure(ref.projectId);
    catalog.generations.putStored(ref, facts, createdAt);
    if (facts.digest !== null) catalog.jobs.owe(ref, 'reserve', now);
  });
}

/**
 * Notes that other content is in place, and owes its way to the cloud from the start. It has to
 * last before the journal goes: after a power loss nothing else tells that the row is of the old
 * one.
 */
export function finishReplace(
  catalog: Catalog,
  ref: Ref,
  facts: StoredFacts,
  createdAt: string,
  now: number,
): void {
  const { generations, jobs } = catalog;
  catalog.transaction(() => {
    const old = generations.find(ref.projectId, ref.version);
    if (old === null) return;
    catalog.countUp(ref.projectId);
    const wasNeverThere = old.uploaded_at === null && old.replaced_digest !== null;
    generations.update(ref, {
      instance_id: null,
      status: 'pending',
      failure: null,
      replaced_digest: wasNeverThere ? old.replaced_digest : old.digest,
      digest: facts.digest,
      sha256: facts.sha256,
      md5: facts.md5,
      archive_bytes: facts.archiveBytes,
      source_bytes: facts.sourceBytes,
      file_count: facts.fileCount,
      created_at: createdAt,
      uploaded_at: null,
      object_key: null,
      // A database that is put back may forget them, and what was sent there.
      earlier_keys: JSON.stringify(keysGivenFor(old).slice(-MAX_KEYS)),
      is_replacement: 1,
      cloud_digest: null,
      owner_id: facts.ownerId ?? old.owner_id,
    });
    jobs.dropUnleased(ref);
    // Also beside one that is under way for what was there before: it runs after that.
    jobs.add(ref, 'reserve', now);
  });
}

/** Gives the place of a save back that did not come to be. */
export function abortSave({ generations, projects }: Catalog, ref: Ref): void {
  const row = generations.find(ref.projectId, ref.version);
  if (row?.state === 'saving') generations.remove(refOf(row));
  projects.removeEmpty(ref.projectId);
}

/** Locks a generation, to change what is on disk; false where another instance has, or it is in another state. */
export function lock(
  catalog: Catalog,
  ref: Ref,
  instanceId: string,
  state: 'stored' | 'deleted',
): boolean {
  const { generations } = catalog;
  return catalog.transaction(() => {
    const row = generations.find(ref.projectId, ref.version);
    if (row?.state !== state || row.instance_id !== null) return false;
    generations.update(ref, { instance_id: instanceId });
    return true;
  });
}

/** Gives a generation back that was locked. */
export function unlock({ generations }: Catalog, ref: Ref): void {
  generations.update(ref, { instance_id: null });
}

/** Two generations under one version must not be mixed up, whatever lies on disk. */
export function checkHolder({ generations }: Catalog, ref: Ref): void {
  const row = generations.find(ref.projectId, ref.version);
  if (row === null || row.generation_id === ref.generationId) return;
  throw new StorageError(
    'conflict',
    `Cannot adopt ${formatRef(ref)} ${ref.generationId}: the version is held by generation "${row.generation_id}"`,
  );
}

function refuse(row: GenerationRow, state: string): StorageError {
  return new StorageError('conflict', `Cannot save ${formatRef(refOf(row))}: ${state}`);
}
