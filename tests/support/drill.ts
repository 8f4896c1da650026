/** What there is of projects, generations, owners and marks, made by the same rules each time. */
import { expect } from 'vitest';
import type { Storage } from '../../node-agent/index.ts';
import { textsOf } from './two-hosts.ts';

/** What a generation holds: a few files, other ones in each. */
export const filesOf = (projectId: string, version: number, edition = 1) => ({
  'main.py': `print("${projectId} ${version} ${edition}")\n`,
  [`app/module_${version % 7}.py`]: `x = ${version}\n`.repeat(1 + (version % 40)),
  'ü/README.md': `# ${projectId}\n`,
});

type Known = { version: number; texts: Record<string, string> };

/** All that a user could see of a store. */
export type Seen = Readonly<{
  projects: unknown;
  lists: Record<string, unknown>;
  active: Record<string, number | null>;
  texts: Record<string, Known[]>;
}>;

/** Reads everything that a store has. */
export async function lookAt(storage: Storage): Promise<Seen> {
  const projects = (await storage.listProjects({ limit: 100 })).items;
  const [lists, active, texts]: [Seen['lists'], Seen['active'], Seen['texts']] = [{}, {}, {}];
  for (const { projectId } of projects) {
    const { items } = await storage.list(projectId, { limit: 100 });
    // Where it lies is another place each time, and when it got there another time.
    lists[projectId] = items.map(
      ({ localPath: _, uploadedAt: __, objectKey: ___, ...item }) => item,
    );
    active[projectId] = await storage.activeVersion(projectId);
    texts[projectId] = await Promise.all(
      items.map(async (item) => ({ version: item.version, texts: await textsOf(storage, item) })),
    );
  }
  return { projects, lists, active, texts };
}

/** Which version the next save of each project gets, with the cloud away: it is saved, and seen. */
export async function nextVersions(storage: Storage, projectIds: readonly string[]) {
  const versions: Record<string, number> = {};
  for (const projectId of projectIds) {
    versions[projectId] = (
      await storage.save({ projectId, files: { 'next.py': projectId } })
    ).version;
  }
  return versions;
}

/** Says in a few lines what differs, of so much. */
export function expectSame(found: Seen, before: Seen): void {
  expect(found.projects).toEqual(before.projects);
  expect(found.active).toEqual(before.active);
  for (const projectId of Object.keys(before.lists)) {
    expect(found.lists[projectId], projectId).toEqual(before.lists[projectId]);
    expect(found.texts[projectId], projectId).toEqual(before.texts[projectId]);
  }
}
