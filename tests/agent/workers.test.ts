/** The threads that do the heavy work. */
import { readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { expect, test } from 'vitest';
import { openTestStorage } from '../support/storage.ts';

test.runIf(process.platform === 'linux')('they give way to the event loop', async () => {
  const before = getPriority();
  const storage = await openTestStorage();
  await storage.save({ projectId: 'p', files: { a: '1' } });
  const niceness = readdirSync('/proc/self/task').map((thread) => {
    const stat = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8');
    // The 19th field: proc_pid_stat(5). The second may have blanks, in brackets.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
  });
  expect(niceness).toContain(Math.min(19, before + 3));
  expect(getPriority()).toBe(before);
});
