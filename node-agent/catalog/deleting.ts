/** What a deletion changes in the catalog. */
import type { Ref } from '../contract.ts';
import type { Catalog } from './catalog.ts';
import type { StoredFacts } from './generation-row.ts';
import { type CloudFacts, fromCloud } from './progress.ts';
import { checkHolder } from './saving.ts';

/**
 * Marks a generation deleted and owes its deletion, unless the cloud has said so; what else was owed for it is
 * dropped.
 *
 * @param digests of the content that was deleted, for a catalog that knows nothing of it
 */
export function markDeleted(
  catalog: Catalog,
  ref: Ref,
  at: string,
  now: number,
  { digests = [], isOwed = true }: { digests?: readonly string[]; isOwed?: boolean } = {},
): void {
  const { generations, projects, jobs } = catalog;
  catalog.transaction(() => {
    checkHolder(catalog, ref);
    catalog.countUp(ref.projectId);
    projects.ensure(ref.projectId);
    generations.putDeleted(ref, at, digests);
    jobs.dropUnleased(ref);
    if (isOwed) jobs.owe(ref, 'delete', now);
  });
}

/** Marks a deleted generation undeleted of which the cloud has the content. */
export function markUndeleted(catalog: Catalog, ref: Ref, facts: CloudFacts): void {
  const { generations, jobs } = catalog;
  catalog.transaction(() => {
    catalog.countUp(ref.projectId);
    generations.update(ref, { state: 'stored', ...fromCloud(facts) });
    jobs.owe(ref, 'reserve', 0);
  });
}

/**
 * Marks a generation undeleted that this host kept: its way to the cloud begins anew.
 *
 * @param step the first one: `undelete` where the cloud has not heard of it
 * @returns whether it was deleted
 */
export function markTakenBack(
  catalog: Catalog,
  ref: Ref,
  { facts, createdAt }: Readonly<{ facts: StoredFacts; createdAt: string }>,
  step: 'undelete' | 'reserve',
  now: number,
): boolean {
  const { generations, jobs } = catalog;
  return catalog.transaction(() => {
    const row = generations.find(ref.projectId, ref.version);
    if (row?.generation_id !== ref.generationId || row.state !== 'deleted') return false;
    catalog.countUp(ref.projectId);
    generations.putStored(ref, facts, createdAt);
    generations.update(ref, { status: 'pending', failure: null });
    jobs.dropUnleased(ref);
    // Of the Python system, and not migrated: the cloud never had it.
    if (facts.digest !== null) jobs.add(ref, step, now);
    return true;
  });
}

/**
 * Marks a generation undeleted whose deletion was still to be told when its tombstone went: what the cloud has of it is
 * there, as it was. Who was telling it may have told it meanwhile, or have ended for want of the tombstone.
 *
 * @returns whether it was deleted
 */
export function markWithdrawn(catalog: Catalog, ref: Ref, now: number): boolean {
  const { generations, jobs } = catalog;
  return catalog.transaction(() => {
    const row = generations.find(ref.projectId, ref.version);
    if (row?.generation_id !== ref.generationId || row.state !== 'deleted') return false;
    catalog.countUp(ref.projectId);
    generations.update(ref, { state: 'stored' });
    jobs.dropUnleased(ref);
    // Also where an attempt may have been heard.
    jobs.add(ref, 'undelete', now);
    return true;
  });
}

/** Forgets a generation that is not here any more, and what was owed for it. */
export function forget(catalog: Catalog, ref: Ref): void {
  const { generations, jobs } = catalog;
  catalog.transaction(() => {
    const row = generations.find(ref.projectId, ref.version);
    if (row?.generation_id !== ref.generationId) return;
    catalog.countUp(ref.projectId);
    jobs.dropAll(ref);
    generations.remove(ref);
  });
}
