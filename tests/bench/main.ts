/**
 * `npm run bench [-- NAME…] [--json]`: the numbers that the design asks for, measured on this
 * machine. Each benchmark runs in processes of its own.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { archive } from './archive.ts';
import { atOnce } from './at-once.ts';
import { beside } from './beside.ts';
import { disk } from './disk.ts';
import { edge } from './edge.ts';
import { eventLoop } from './event-loop.ts';
import { get } from './get.ts';
import type { Benchmark, Measured } from './measure.ts';
import { memory } from './memory.ts';
import { replica } from './replica.ts';
import { restore } from './restore.ts';
import { rows } from './rows.ts';
import { save } from './save.ts';
import { scale } from './scale.ts';
import { upload } from './upload.ts';
import { weight } from './weight.ts';

const BENCHMARKS: Record<string, Benchmark> = {
  save,
  'at-once': atOnce,
  beside,
  disk,
  'event-loop': eventLoop,
  archive,
  upload,
  restore,
  replica,
  get,
  memory,
  scale,
  rows,
  edge,
  weight,
};

const { values, positionals } = parseArgs({
  options: { json: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const unknown = positionals.filter((name) => !(name in BENCHMARKS));
if (unknown.length > 0) {
  console.error(`There is no benchmark "${unknown[0]}", but ${Object.keys(BENCHMARKS).join(', ')}`);
  process.exit(2);
}

process.env.TMPDIR = makeFolder();
process.on('exit', () => rmSync(process.env.TMPDIR!, { recursive: true, force: true }));

const names = positionals.length > 0 ? positionals : Object.keys(BENCHMARKS);
const results: Measured[] = [];
for (const name of names) {
  process.stderr.write(`${name} …\n`);
  results.push(...(await BENCHMARKS[name]!()));
}
if (values.json) console.log(JSON.stringify(results));
else {
  for (const { what, value, unit, spread, target, holds } of results) {
    const wanted = target === null ? '' : `${target.is === 'at most' ? '≤' : '≥'} ${target.value}`;
    const verdict = target === null ? '' : holds ? 'holds' : 'MISSED';
    const range = spread === null ? '' : `${spread[0]} to ${spread[1]}`;
    console.log(
      `${what.padEnd(64)} ${`${value} ${unit}`.padStart(10)}  ${range.padEnd(14)} ${wanted.padEnd(7)} ${verdict}`.trimEnd(),
    );
  }
}
process.exitCode = results.every(({ holds }) => holds) ? 0 : 1;

/**
 * Makes the folder that all benchmarks have theirs in. For some minutes after many files were
 * removed ext4 makes new ones near them up to forty times slower (it passes over every inode that
 * was in use just now): `+T` has it look for another place for each folder in this one.
 */
function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'codebegen-bench-'));
  try {
    execFileSync('chattr', ['+T', folder], { stdio: 'ignore' });
  } catch {
    // No ext4, or no such program.
  }
  return folder;
}
