/** The disk is full from a step on, a run for each step: told of, nothing half there, and over once there is room. */
import { expect, test } from 'vitest';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { readTree } from '../support/tree.ts';
import { crash } from './crash.ts';
import { eachStep } from './each-step.ts';
import { CONTENTS, earlierIn, prepare, refIn, type Scenario } from './scenarios.ts';

const PROJECT = 'shop';
const REF = refIn(PROJECT);

test.each<[Scenario, number]>([
  ['save', 1],
  ['first save', 3],
  ['write', 3],
  ['replace', 3],
])(
  '%s: on a full disk it fails with disk_full, and works again once there is room',
  async (scenario, every) => {
    const template = scenario === 'first save' ? null : await tempFolder();
    if (template !== null) {
      const storage = await openTestStorage({ storePath: template });
      await prepare(storage, scenario, PROJECT);
      await storage.close();
    }
    const env = { NODE_COMPILE_CACHE: await tempFolder(), CRASH_HOW: 'full' };
    const start = async (at: number) => {
      const folder = await tempFolder();
      return crash({ scenario, projectId: PROJECT, at, folder, template, env });
    };
    const { steps } = await start(0);
    let failures = 0;
    await eachStep(steps!, every, async (at) => {
      const { full, receipt, storePath } = await start(at);
      if (full !== null) {
        failures++;
        expect(full, `full from step ${at}`).toMatchObject({
          code: 'disk_full',
          message: expect.stringMatching(/^Cannot .*: the disk is full$/),
        });
        // Nothing of it is to be seen, in place or in staging; of what was replaced all is.
        const names = full.left.filter((name) => name.includes('gen-2/'));
        if (scenario !== 'replace') expect(names).toEqual([]);
        expect(full.left.filter((name) => /staging\/[^/]+\/./.test(name))).toEqual([]);
      }
      expect(receipt).toMatchObject(REF);
      const storage = await openTestStorage({ storePath });
      const { sourcePath } = await storage.get(REF);
      expect(textOf(sourcePath), `full from step ${at}`).toEqual(CONTENTS.new);
      if (template !== null) {
        expect(textOf((await storage.get(earlierIn(PROJECT))).sourcePath)).toEqual(CONTENTS.old);
      }
      await storage.close();
    });
    expect(failures).toBeGreaterThan(5);
  },
);

function textOf(folder: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(readTree(folder)).map(([path, bytes]) => [path, bytes.toString()]),
  );
}
