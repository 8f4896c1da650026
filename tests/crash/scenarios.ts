/** What the agent is doing when it is killed, and what may be found then. */
import type { Storage } from '../../node-agent/index.ts';
import { PythonStore } from '../support/python-store.ts';

/** Of one process, or of two storages in it at once. */
export type Scenario =
  | 'first save'
  | 'save'
  | 'write'
  | 'replace'
  | 'delete'
  | 'upload'
  | 'lay out'
  | 'drop the tree'
  | 'activate'
  | 'settle twice'
  | 'read unsettled'
  | 'settle and replace'
  | 'settle and delete'
  | 'undelete'
  | 'undelete twice'
  | 'undelete content'
  | 'delete and undelete'
  | 'follow'
  | 'follow and lose the catalog'
  | 'purge'
  | 'restore'
  | 'restore twice'
  | 'resend'
  | 'scrub'
  | 'migrate';

/** What changes nothing of the content. */
const KEEPING: ReadonlySet<Scenario> = new Set([
  'lay out',
  'drop the tree',
  'activate',
  'settle twice',
  'read unsettled',
  'migrate',
]);

export const CONTENTS = {
  old: { 'a.txt': 'old', 'only/old.txt': 'o'.repeat(100) },
  new: { 'a.txt': 'new', 'b/c.txt': 'c'.repeat(3000), 'b/empty': '' },
};

export type Content = keyof typeof CONTENTS;

/** What the scenario is about. */
export const refIn = (projectId: string) => ({ projectId, version: 2, generationId: 'gen-2' });

/** What was there before, and must stay whatever happens. */
export const earlierIn = (projectId: string) => ({ projectId, version: 1, generationId: 'gen-1' });

/** What a generation holds other content after, and what it held before is kept. */
export const REPLACING: ReadonlySet<Scenario> = new Set([
  'replace',
  'settle and replace',
  'undelete content',
]);

/** Of those that begin with what was deleted. */
const OF_DELETED: ReadonlySet<Scenario> = new Set(['undelete', 'undelete twice', 'purge']);

/** Puts on disk what is there before the scenario begins. */
export async function prepare(
  storage: Storage,
  scenario: Scenario,
  projectId: string,
): Promise<void> {
  await storage.save({ ...earlierIn(projectId), files: CONTENTS.old });
  if (scenario === 'replace' || scenario === 'delete') {
    await storage.save({ ...refIn(projectId), files: CONTENTS.old, tree: 'now' });
  }
  if (scenario.startsWith('settle and')) {
    await storage.save({ ...refIn(projectId), files: CONTENTS.old });
  }
  if (OF_DELETED.has(scenario) || scenario === 'delete and undelete') {
    await storage.save({ ...refIn(projectId), files: CONTENTS.new });
  }
  if (OF_DELETED.has(scenario)) await storage.delete(refIn(projectId));
  if (scenario === 'undelete content') {
    await storage.save({ ...refIn(projectId), files: CONTENTS.old });
    await storage.save({ ...refIn(projectId), files: CONTENTS.new, replace: true });
  }
  if (scenario === 'migrate') {
    const { storePath } = await storage.status();
    new PythonStore(storePath).versioned(refIn(projectId), CONTENTS.new);
  } else if (KEEPING.has(scenario)) {
    const laidOut = scenario === 'drop the tree' ? ({ tree: 'now' } as const) : {};
    await storage.save({ ...refIn(projectId), files: CONTENTS.new, ...laidOut });
  }
}

/** What may be found: all of one content, or nothing at all. */
export function allowed(scenario: Scenario, receipt: boolean): (Content | null)[] {
  switch (scenario) {
    case 'first save':
    case 'save':
    case 'write':
      return receipt ? ['new'] : ['new', null];
    case 'replace':
    case 'settle and replace':
      return receipt ? ['new'] : ['new', 'old'];
    case 'delete':
    case 'settle and delete':
      return receipt ? [null] : ['old', null];
    case 'undelete':
    case 'undelete twice':
      return receipt ? ['new'] : ['new', null];
    case 'delete and undelete':
      return ['new', null];
    case 'undelete content':
      return receipt ? ['old'] : ['old', 'new'];
    case 'purge':
      return [null];
    case 'upload':
      return [];
    default:
      return ['new'];
  }
}
