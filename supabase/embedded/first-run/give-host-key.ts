import { existsSync, writeFileSync } from 'node:fs';
import { openStorage, readConfig } from '../../../node-agent/index.ts';

const NAME = 'first-run';

/**
 * Does what an operator does once, where the secret key is: gives the host a key of its own. What lies here already is
 * given to it. A stack that was thrown away, or a key that is not here any more, has it be done again.
 *
 * @param operator the environment of whoever has the secret key
 */
export async function giveHostKey(
  keyFile: string,
  operator: Record<string, string>,
): Promise<void> {
  const storage = await openStorage({ ...readConfig(operator), background: false });
  try {
    const { hosts } = storage;
    const known = (await hosts.list()).some(
      ({ name, revoked_at }) => name === NAME && revoked_at === null,
    );
    if (known && existsSync(keyFile)) return;
    if (known) await hosts.revoke(NAME);
    const projects: string[] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page = await storage.listProjects({ cursor });
      projects.push(...page.items.map(({ projectId }) => projectId));
      cursor = page.nextCursor;
    }
    const rights = { read: 'own', delete: 'own', projects, expiresAt: null } as const;
    writeFileSync(keyFile, await hosts.add(NAME, rights), { mode: 0o600 });
  } finally {
    await storage.close();
  }
}
