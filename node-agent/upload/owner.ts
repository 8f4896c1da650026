import type { Catalog } from '../catalog/catalog.ts';
import { retryGivenUp } from '../catalog/owing.ts';
import type { Cloud } from '../cloud/cloud.ts';
import { notFound, parseId, StorageError } from '../contract.ts';
import { parseOwner } from '../save/request.ts';
import type { Store } from '../store/store.ts';
import type { Scan } from '../upkeep/scan.ts';

type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  scan: Scan;
  /** `null` while the cloud is off. */
  cloud: Cloud | null;
  now: () => number;
}>;

/**
 * Sets the owner of a project. Where the cloud has another one, that stays, and is known here then,
 * unless it is a transfer. What could not be uploaded for its owner is tried again.
 *
 * @returns whether anything changed
 * @throws StorageError `not_found`, `conflict` where it has another owner
 */
export async function setOwner(
  parts: Parts,
  projectId: string,
  ownerId: string,
  { transfer }: { transfer: boolean },
): Promise<boolean> {
  const { catalog, scan, cloud, now } = parts;
  const project = parseId(projectId, 'project id');
  const owner = parseOwner(ownerId);
  await scan.project(project);
  const isHere = catalog.projects.has(project);
  const known = catalog.projects.ownerOf(project);
  const refuse = (other: string) =>
    new StorageError(
      'conflict',
      `Cannot give "${project}" to "${owner}": it has an owner, "${other}" (--transfer gives it to another)`,
    );
  const ask = async () => {
    const answer = await cloud?.records.setOwner(project, owner, { transfer });
    if (answer?.outcome !== 'conflict') return answer?.outcome ?? 'missing';
    // The cloud decides.
    if (isHere) await takeOwner(parts, project, answer.owner_id!);
    throw refuse(answer.owner_id!);
  };

  let outcome = await ask();
  const isSet = outcome === 'set' || outcome === 'known';
  if (!isHere && !isSet) throw notFound({ projectId: project });
  if (!isSet && !transfer && known !== null && known !== owner) throw refuse(known);
  if (isHere && known !== owner) {
    await takeOwner(parts, project, owner);
    // A reservation may have made the project meanwhile, of nobody.
    if (outcome === 'missing') outcome = await ask();
  }
  // For a catalog that is made again: what earlier saves named counts no more.
  if (isHere) {
    const decided = { ownerDecidedAt: new Date(now()).toISOString() };
    await parts.store.projects.write(project, decided);
  }
  await catalog.write(() => {
    catalog.generations.dropNamedOwners(project);
    retryGivenUp(catalog, now(), project);
  });
  return outcome === 'set' || (isHere && known !== owner);
}

/** Notes whose a project is, beside its generations and in the catalog. */
export async function takeOwner(
  { store, catalog }: Pick<Parts, 'store' | 'catalog'>,
  projectId: string,
  ownerId: string,
): Promise<void> {
  await store.projects.write(projectId, { ownerId });
  await catalog.write(() => catalog.projects.setOwner(projectId, ownerId));
}

/** Whoever was named last, here or in the cloud: both know it then. */
export async function agreeOnOwner(
  parts: Pick<Parts, 'store' | 'catalog'> & Pick<Cloud, 'records'>,
  projectId: string,
  inCloud: string | null,
): Promise<void> {
  const here = parts.catalog.projects.ownerOf(projectId);
  if (inCloud !== null && here !== inCloud) await takeOwner(parts, projectId, inCloud);
  // Named since the reservation was made.
  if (inCloud === null && here !== null) {
    await parts.records.setOwner(projectId, here, { transfer: false });
  }
}
