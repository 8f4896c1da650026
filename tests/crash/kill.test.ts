/**
 * The agent is killed before every step of I/O, a run for each; and what it left loses, besides,
 * what was not fsynced. A new start has to find all that had a receipt, and nothing torn.
 */
import { createHash } from 'node:crypto';
import { cpSync, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Storage } from '../../node-agent/index.ts';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { readTexts } from '../support/tree.ts';
import { type Crash, crash, makeTemplate } from './crash.ts';
import { eachStep, isLong } from './each-step.ts';
import { type Loss, losePower } from './power-loss.ts';
import {
  allowed,
  CONTENTS,
  type Content,
  earlierIn,
  REPLACING,
  refIn,
  type Scenario,
} from './scenarios.ts';

/** Besides the kill alone: each step has its turn with one of them, in the long form with all. */
const LOSSES: Loss[] = [
  { content: 'empty', entries: false, catalog: false },
  { content: 'zeros', entries: false, catalog: true },
  { content: 'empty', entries: true, catalog: false },
  { content: 'zeros', entries: true, catalog: true },
];

const PROJECT = 'shop';
const REF = refIn(PROJECT);

test.each<[Scenario, number]>([
  ['save', 17],
  ['first save', 25],
  ['write', 25],
  ['replace', 21],
  ['delete', 13],
  ['lay out', 31],
  ['drop the tree', 23],
  ['activate', 23],
  ['settle twice', 37],
  ['settle and replace', 41],
  ['settle and delete', 29],
  ['undelete', 17],
  ['undelete twice', 31],
  ['undelete content', 29],
  ['delete and undelete', 37],
  ['purge', 9],
  ['migrate', 17],
])(
  '%s: killed before every step, nothing with a receipt is lost and nothing is torn',
  async (scenario, every) => {
    const template = await makeTemplate(scenario, PROJECT);
    const env = { NODE_COMPILE_CACHE: await tempFolder() };
    const start = async (at: number) => {
      const folder = await tempFolder();
      return crash({ scenario, projectId: PROJECT, at, folder, template, env });
    };
    const { steps } = await start(0);
    expect(steps).toBeGreaterThanOrEqual(15);
    await eachStep(steps!, every, async (at) => {
      const crashed = await start(at);
      const turn = at % LOSSES.length;
      const losses = [null, ...(isLong ? LOSSES : LOSSES.slice(turn, turn + 1))];
      for (const loss of losses) {
        await check(crashed, scenario, loss).catch((error: Error) => {
          error.message = `killed at step ${at} of ${steps}, then ${JSON.stringify(loss)}: ${error.message}`;
          throw error;
        });
      }
    });
  },
);

test.each<Scenario>(['save', 'write', 'replace', 'delete', 'migrate'])(
  '%s: what was answered for was made to last, each file and each name of it',
  async (scenario) => {
    const template = await makeTemplate(scenario, PROJECT);
    const folder = await tempFolder();
    // As it is when it is answered: nothing comes after that.
    const env = { NODE_COMPILE_CACHE: await tempFolder(), CRASH_QUIET: '1' };
    const { receipt, unsynced, storePath } = await crash({
      ...{ scenario, projectId: PROJECT, at: 0, folder, template, env },
    });
    expect(receipt).not.toBeNull();
    expect(unsynced.files.filter((path) => path.startsWith(`store/${PROJECT}/`))).toEqual([]);
    const project = join(storePath, PROJECT);
    const folders = readdirSync(project, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name));
    const inodes = new Set([storePath, project, ...folders].map((path) => statSync(path).ino));
    // What is removed and comes back is removed again.
    const lost = unsynced.entries.filter(
      (entry) => 'folder' in entry && inodes.has(entry.folder) && entry.op !== 'remove',
    );
    expect(lost).toEqual([]);
  },
);

async function check(crashed: Crash, scenario: Scenario, loss: Loss | null): Promise<void> {
  const folder = await tempFolder();
  cpSync(join(crashed.storePath, '..'), folder, { recursive: true, verbatimSymlinks: true });
  if (loss !== null) losePower(folder, join(crashed.storePath, '..'), crashed.unsynced, loss);
  const storePath = join(folder, 'store');
  const problems: unknown[] = [];
  const storage = await openTestStorage({
    storePath,
    background: false,
    onProblem: (error) => problems.push(error),
  });
  expect(problems).toEqual([]);
  const { receipt } = crashed;
  const found = await contentOf(storage, REF);
  expect(allowed(scenario, receipt !== null)).toContain(found);
  const versions = (await storage.list(PROJECT)).items.map((item) => item.version);
  const earlier = scenario === 'first save' ? [] : [1];
  expect(versions).toEqual(found === null ? earlier : [2, ...earlier]);
  if (earlier.length > 0) expect(await contentOf(storage, earlierIn(PROJECT))).toBe('old');
  if (scenario === 'activate') expectActiveWhole(storePath);
  if (found === null) await expectUndeletable(storage, scenario);
  if (REPLACING.has(scenario)) await expectBothKept(storage, found!, scenario);
  // A migration that was stopped goes on where it was.
  if (scenario === 'migrate') await storage.adopt(REF);
  if (found !== null) {
    const { path, sha256 } = await storage.archive(REF);
    expect(createHash('sha256').update(readFileSync(path)).digest('hex')).toBe(sha256);
  }
  // Nothing is left of what was not finished, and all goes on as if nothing had been.
  expect(leftovers(storePath)).toEqual([]);
  if (found !== null) {
    await storage.save({ ...REF, files: CONTENTS.new, replace: true });
    expect(await contentOf(storage, REF)).toBe('new');
  }
  await storage.close();
}

/** What was replaced can be had back, and what took its place after that. */
async function expectBothKept(storage: Storage, found: Content, scenario: Scenario): Promise<void> {
  // It was not replaced yet.
  if (found === 'old' && scenario !== 'undelete content') return;
  const other = found === 'old' ? 'new' : 'old';
  const { digest, replaced } = await storage.show(REF);
  const [before] = replaced;
  await storage.undelete(REF, { digest: before!.digest });
  expect(await contentOf(storage, REF)).toBe(other);
  await storage.undelete(REF, { digest: digest! });
  expect(await contentOf(storage, REF)).toBe(found);
}

/** What was deleted and is not due can be had back; what is due goes with the next purge, and nothing is left of it. */
async function expectUndeletable(storage: Storage, scenario: Scenario): Promise<void> {
  if (scenario === 'purge') {
    await storage.purge();
    const { storePath } = await storage.status();
    expect(readdirSync(join(storePath, '.codebegen-storage/trash'))).toEqual([]);
    await expect(storage.undelete(REF)).rejects.toMatchObject({ code: 'not_found' });
    return;
  }
  const wasThere = allowed(scenario, false).find((content) => content !== null);
  if (!/delete/.test(scenario) || wasThere === undefined) return;
  expect(await storage.undelete(REF)).toMatchObject({ undeleted: true });
  expect(await contentOf(storage, REF)).toBe(wasThere);
  await storage.delete(REF);
}

/** The link is read without us: where it is there, so is all behind it. */
function expectActiveWhole(storePath: string): void {
  const active = join(storePath, PROJECT, 'generations/active');
  if (!existsSync(active)) return;
  expect(readTexts(join(active, 'source'))).toEqual(CONTENTS.new);
  expect(JSON.parse(readFileSync(join(active, 'manifest.json'), 'utf8')).version).toBe(2);
}

function leftovers(storePath: string): string[] {
  const own = join(storePath, '.codebegen-storage');
  const staging = join(own, 'staging');
  return [
    ...readdirSync(staging).flatMap((name) => readdirSync(join(staging, name))),
    ...(existsSync(join(own, 'replacing')) ? readdirSync(join(own, 'replacing')) : []),
    ...readdirSync(own).filter((name) => name.includes('damaged')),
  ];
}

/** Which of the contents a generation has; `null` where it is not there. Any other is an error. */
async function contentOf(storage: Storage, ref: typeof REF): Promise<Content | null> {
  const found = await storage.get(ref).catch((error: { code: string }) => {
    if (error.code === 'not_found') return null;
    throw error;
  });
  if (found === null) return null;
  const tree = readTexts(found.sourcePath);
  const name = tree['a.txt'] as Content;
  expect(tree).toEqual(CONTENTS[name]);
  expect(found.manifest.files).toEqual(Object.keys(tree).sort());
  return name;
}
