import type { Catalog } from '../catalog/catalog.ts';
import { forget } from '../catalog/deleting.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { nextVersion } from '../catalog/saving.ts';
import { formatRef, type Ref, StorageError } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import { inGeneration } from '../store/layout.ts';
import type { ListedSource, NamedFile } from '../store/source.ts';
import type { Store } from '../store/store.ts';
import type { StoredGeneration } from '../store/stored-generation.ts';
import type { Locks } from '../upkeep/locks.ts';
import type { Saver } from './save.ts';
import type { Versions } from './versions.ts';

type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  locks: Locks;
  saver: Saver;
  versions: Versions;
  now: () => number;
  onEvent: Tell;
}>;

/** How often a version is looked for that nobody takes meanwhile. */
const ATTEMPTS = 5;

/**
 * Saves a generation anew under the next version that is free here and in the cloud, and leaves a
 * mark where it was. Its old ref leads there with the generation id; without one it is whatever the
 * cloud has. May be repeated after a crash.
 *
 * @returns its new ref
 * @throws StorageError `not_found`, `unavailable` where the cloud cannot be asked
 */
export async function renumber(parts: Parts, ref: Ref): Promise<Ref> {
  const { store, catalog, locks, versions, now, onEvent } = parts;
  await versions.learn(ref.projectId);
  const unlock = await locks.lock(ref);
  if (unlock === null) throw new StorageError('not_found', `Cannot find ${formatRef(ref)}`);
  try {
    const row = catalog.generations.find(ref.projectId, ref.version)!;
    const to = findCopy(parts, row) ?? (await saveAnew(parts, row));
    const isActive = store.active.find(ref.projectId) === ref.version;
    if (isActive) await store.active.set(to, now());
    await store.trash.moveReplaced(ref, to);
    await store.removals.move(ref, to.version, new Date(now()).toISOString());
    await catalog.write(() => {
      // Its old version is the cloud's.
      catalog.projects.setCloudVersion(ref.projectId, ref.version, false);
      forget(catalog, ref);
      if (isActive) catalog.projects.oweActive(ref.projectId);
      onEvent({ kind: 'generation.renumbered', from: ref.version, ...to });
    });
    return to;
  } finally {
    await unlock();
  }
}

/** What an earlier run saved that ended in the middle. */
function findCopy({ catalog }: Parts, row: GenerationRow): Ref | null {
  const latest = catalog.generations.findLatest(row.project_id, row.generation_id);
  const isCopy =
    latest !== null &&
    latest.version > row.version &&
    latest.state === 'stored' &&
    latest.digest === row.digest;
  return isCopy ? refOf(latest) : null;
}

async function saveAnew({ store, catalog, saver }: Parts, row: GenerationRow): Promise<Ref> {
  const old = refOf(row);
  const found = await store.find(old);
  if (found === null) throw new StorageError('not_found', `Cannot find ${formatRef(old)}`);
  // Its files are read from there.
  const { digest } = found.manifest;
  if (digest !== undefined && !store.trees.isThere(old, digest)) await store.trees.layOut(old);
  for (let attempt = 1; ; attempt++) {
    const version = nextVersion(catalog, old.projectId);
    try {
      const saved = await saver.save(
        {
          ...{ projectId: old.projectId, version, generationId: old.generationId },
          ownerId: row.owner_id,
          metadata: found.manifest.metadata ?? {},
          replace: false,
          layOut: false,
          source: listSource(store, found),
          artifacts: listArtifacts(store, found),
        },
        performance.now(),
      );
      const ref = refOf(saved.row);
      // What lies there is not what was saved: the original stays.
      if (saved.row.digest !== row.digest) {
        await store.removals.discard(ref);
        await catalog.write(() => forget(catalog, ref));
        throw new StorageError('corrupt', `Cannot renumber ${formatRef(old)}: its files changed`);
      }
      // Nobody chose it: it may be given another once more.
      await catalog.write(() => catalog.generations.update(ref, { provisional: 1 }));
      return ref;
    } catch (error) {
      const isTaken = error instanceof StorageError && error.code === 'conflict';
      if (!isTaken || attempt === ATTEMPTS) throw error;
    }
  }
}

function listSource(store: Store, { sourcePath, manifest }: StoredGeneration): ListedSource {
  // Their modes on disk are for this host alone.
  const files = manifest.entries ?? manifest.files.map((path) => ({ path }));
  return list(store, sourcePath, files);
}

function listArtifacts(store: Store, { path, manifest }: StoredGeneration): ListedSource | null {
  const { artifacts = [] } = manifest;
  return artifacts.length === 0 ? null : list(store, inGeneration.artifacts(path), artifacts);
}

function list(store: Store, folder: string, files: readonly NamedFile[]): ListedSource {
  const { root, path } = store.layout.placeOf(folder);
  return { kind: 'listed', root, folder: path, files };
}
