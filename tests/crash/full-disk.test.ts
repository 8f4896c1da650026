/** The disk is full from a step on, a run for each step: told of, nothing half there, and over once there is room. */
import { expect, test } from 'vitest';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { readTexts } from '../support/tree.ts';
import { crash, makeTemplate } from './crash.ts';
import { eachStep } from './each-step.ts';
import { CONTENTS, earlierIn, refIn, type Scenario } from './scenarios.ts';

const PROJECT = 'shop';
const REF = refIn(PROJECT);

test.each<[Scenario, number]>([
  ['save', 4],
  ['first save', 8],
  ['write', 4],
  ['replace', 8],
])(
  '%s: on a full disk it fails with disk_full, and works again once there is room',
  async (scenario, every) => {
    const template = await makeTemplate(scenario, PROJECT);
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
      expect(readTexts(sourcePath), `full from step ${at}`).toEqual(CONTENTS.new);
      if (template !== null) {
        expect(readTexts((await storage.get(earlierIn(PROJECT))).sourcePath)).toEqual(CONTENTS.old);
      }
      await storage.close();
    });
    expect(failures).toBeGreaterThan(5);
  },
);
