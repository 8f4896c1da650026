import type { Catalog } from '../catalog/catalog.ts';
import type { Activation, ActivationPosition } from '../cloud/activations.ts';
import type { CloudActivations } from '../cloud/cloud.ts';
import type { StorageError } from '../contract.ts';
import type { Store } from '../store/store.ts';
import { followActive } from '../upkeep/activate.ts';
import type { Locks } from '../upkeep/locks.ts';
import type { Scan } from '../upkeep/scan.ts';
import { lookBack, PAGE } from './look-back.ts';

type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  locks: Locks;
  scan: Scan;
  activations: CloudActivations;
  unwritable: StorageError | null;
  now: () => number;
  /** Told of each that cannot be followed. Never throws. */
  onProblem: (error: unknown) => void;
}>;

/**
 * Tells the cloud which generations are active here, where somebody said so, and follows what was said
 * elsewhere. The last word counts, by the time at which it was said.
 *
 * @returns how many links it set
 * @throws StorageError `unavailable`
 */
export async function exchangeActive(parts: Parts): Promise<number> {
  await tellActive(parts);
  return learnActive(parts);
}

/** Tells the cloud what is owed to it. @throws StorageError `unavailable` */
async function tellActive(parts: Parts): Promise<void> {
  const { catalog } = parts;
  let after = '';
  for (;;) {
    const owed = catalog.projects.listActiveOwed(after, PAGE);
    for (const projectId of owed) {
      after = projectId;
      if (!(await tellActiveOf(parts, projectId))) return;
    }
    if (owed.length < PAGE) return;
  }
}

/**
 * Tells the cloud what is active in a project.
 *
 * @returns whether there is a database to tell
 * @throws StorageError `unavailable`
 */
export async function tellActiveOf(
  { store, catalog, activations }: Parts,
  projectId: string,
): Promise<boolean> {
  const ref = store.active.findRef(projectId);
  const at = store.active.saidAt(projectId);
  if (ref === null || at === null) {
    await catalog.write(() => catalog.projects.setActiveTold(projectId, null));
    return true;
  }
  const answer = await activations.set(ref, at);
  if (answer.outcome === 'no_database') return false;
  // It is told once the cloud has the generation.
  if (answer.outcome === 'missing') return true;
  const counts = answer.outcome === 'set' ? Date.parse(answer.activated_at) : at;
  await catalog.write(() => {
    // Somebody may have said something else meanwhile.
    if (store.active.saidAt(projectId) !== at) return;
    store.active.restamp(projectId, at, counts);
    catalog.projects.setActiveTold(projectId, counts);
  });
  return true;
}

async function learnActive(parts: Parts): Promise<number> {
  const { catalog, activations, onProblem } = parts;
  let followed = 0;
  let hasFailed = false;
  const seen = catalog.meta.activeSeen;
  let position: ActivationPosition | null =
    seen === null ? null : { noted_at: lookBack(seen), project_id: '' };
  for (;;) {
    const page = await activations.list(position, PAGE);
    for (const activation of page) {
      try {
        if (await follow(parts, activation)) followed++;
      } catch (error) {
        hasFailed = true;
        onProblem(error);
      }
    }
    const last = page.at(-1);
    if (last !== undefined) {
      position = last;
      // No further than what could not be followed: the next poll tries it again.
      if (!hasFailed) await catalog.write(() => catalog.meta.setActiveSeen(last.noted_at));
    }
    if (page.length < PAGE) return followed;
  }
}

/** What is not here, or was taken out of the store, is followed by nothing: a link needs files. */
async function follow(parts: Parts, activation: Activation): Promise<boolean> {
  const { store, catalog, scan } = parts;
  const { project_id: projectId, version, generation_id: generationId } = activation;
  await scan.project(projectId);
  const row = catalog.generations.find(projectId, version);
  if (row?.generation_id !== generationId || row.state !== 'stored') return false;
  if (!store.has({ projectId, version, generationId })) return false;
  return followActive(parts, row, Date.parse(activation.activated_at));
}
