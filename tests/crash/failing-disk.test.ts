/** One call of a file system or of SQLite fails, a run for each: named, nothing half there, and it works the next time. */
import { expect, test } from 'vitest';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { readTexts } from '../support/tree.ts';
import { crash, makeTemplate } from './crash.ts';
import { eachStep } from './each-step.ts';
import { CONTENTS, refIn, type Scenario } from './scenarios.ts';

const PROJECT = 'shop';
const REF = refIn(PROJECT);
const CODES = ['EIO', 'EDQUOT', 'EROFS', 'EACCES', 'EMFILE', 'ENFILE'];
/** What it may be called: never `internal`, which is for mistakes of ours. */
const NAMED = /^(disk_full|read_only|forbidden|unavailable|corrupt)$/;

test.each<[Scenario, number]>([
  ['first save', 29],
  ['save', 37],
  ['write', 37],
  ['replace', 37],
  ['delete', 13],
  ['lay out', 13],
  ['activate', 13],
  ['drop the tree', 9],
  ['settle twice', 29],
])('%s: a call that fails has a name', async (scenario, every) => {
  const template = await makeTemplate(scenario, PROJECT);
  const env = { NODE_COMPILE_CACHE: await tempFolder() };
  const start = async (at: number, code: string) => {
    const folder = await tempFolder();
    return crash({
      scenario,
      projectId: PROJECT,
      at,
      folder,
      template,
      env: { ...env, CRASH_HOW: code },
    });
  };
  const { steps } = await start(0, 'EIO');
  let failures = 0;
  await eachStep(steps!, every, async (at) => {
    const code = CODES[at % CODES.length]!;
    const { full, problems, receipt, storePath } = await start(at, code);
    for (const failure of full === null ? problems : [full, ...problems]) {
      failures++;
      expect(failure, `${code} at step ${at}`).toMatchObject({
        code: expect.stringMatching(NAMED),
        message: expect.stringMatching(/^Cannot /),
      });
    }
    expect(receipt, `${code} at step ${at}`).not.toBeNull();
    const storage = await openTestStorage({ storePath });
    if (scenario === 'delete') {
      await expect(storage.get(REF)).rejects.toMatchObject({ code: 'not_found' });
    } else {
      const { sourcePath } = await storage.get(REF);
      expect(Object.values(CONTENTS)).toContainEqual(readTexts(sourcePath));
    }
    await storage.close();
  });
  expect(failures).toBeGreaterThan(1);
});
