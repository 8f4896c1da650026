/** The disk is full from a step on, a run for each step: told of, nothing half there, and over once there is room. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT, runCli } from '../support/run.ts';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { listTree, readTexts } from '../support/tree.ts';
import { crash, makeTemplate } from './crash.ts';
import { eachStep } from './each-step.ts';
import { CONTENTS, earlierIn, refIn, type Scenario } from './scenarios.ts';

const PROJECT = 'shop';
const REF = refIn(PROJECT);

test.each<[Scenario, number]>([
  ['save', 13],
  ['first save', 15],
  ['write', 11],
  ['replace', 15],
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
    expect(failures).toBeGreaterThan(2);
  },
);

test('on a full disk what reads works: from the files themselves, and no tree is laid out', async () => {
  const storePath = await tempFolder();
  const storage = await openTestStorage({ storePath });
  await storage.save({ ...refIn('shop'), version: 1, files: CONTENTS.old });
  await storage.close();
  // The second is not settled.
  const quiet = await openTestStorage({ storePath, background: false });
  await quiet.save({ ...refIn('shop'), files: CONTENTS.new });
  await quiet.close();
  const full = {
    ...{ FILE_STORAGE_PATH: storePath, USE_CLOUD_STORAGE: 'false' },
    ...{ CRASH_ROOT: storePath, CRASH_AT: '1', CRASH_HOW: 'full' },
    NODE_OPTIONS: `--import ${ROOT}/tests/crash/steps.ts`,
  };
  const before = listTree(storePath);
  const listed = await runCli(['list', 'shop', '--json'], full);
  expect(listed).toMatchObject({ code: 0, stderr: expect.stringContaining('the disk is full') });
  expect(JSON.parse(listed.stdout).items.map((item: { version: number }) => item.version)).toEqual([
    2, 1,
  ]);
  expect((await runCli(['diff', 'shop', '1', '2'], full)).stdout).toBe(
    'M a.txt\nA b/c.txt\nA b/empty\nD only/old.txt\n',
  );
  for (const [version, content] of [
    [1, CONTENTS.old],
    [2, CONTENTS.new],
  ] as const) {
    expect((await runCli(['show', 'shop', `${version}`], full)).code).toBe(0);
    const to = join(await tempFolder(), 'out');
    expect((await runCli(['get', 'shop', `${version}`, '--to', to], full)).code).toBe(0);
    expect(readTexts(to)).toEqual(content);
  }
  const laidOut = await runCli(['get', 'shop', '1'], full);
  expect([laidOut.code, laidOut.stderr]).toEqual([1, expect.stringContaining('get --to')]);
  const saved = await runCli(['save', `${ROOT}/docs/examples`, '--project', 'shop'], full);
  expect([saved.code, saved.stderr]).toEqual([1, expect.stringContaining('the disk is full')]);
  // The room that was kept is given back.
  const reserve = '.codebegen-storage/reserve';
  expect(before).toContain(reserve);
  expect(listTree(storePath)).toEqual(before.filter((name) => !name.startsWith(reserve)));
});

test('an agent that runs serves files where there is no room to settle what they are in', async () => {
  const scenario = 'read unsettled';
  const template = await makeTemplate(scenario, PROJECT);
  const folder = await tempFolder();
  const env = { CRASH_HOW: 'full' };
  const { receipt } = await crash({ scenario, projectId: PROJECT, at: 1, folder, template, env });
  expect(receipt).toMatchObject({ texts: CONTENTS.new });
});
