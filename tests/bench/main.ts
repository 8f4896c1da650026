/**
 * `npm run bench [-- NAME…] [--json]`: the numbers that the design asks for, measured on this
 * machine. Each benchmark runs in processes of its own.
 */
import { parseArgs } from 'node:util';
import { archive } from './archive.ts';
import { edge } from './edge.ts';
import { eventLoop } from './event-loop.ts';
import { get } from './get.ts';
import type { Benchmark, Measured } from './measure.ts';
import { memory } from './memory.ts';
import { rows } from './rows.ts';
import { save } from './save.ts';
import { scale } from './scale.ts';
import { upload } from './upload.ts';
import { weight } from './weight.ts';

const BENCHMARKS: Record<string, Benchmark> = {
  save,
  'event-loop': eventLoop,
  archive,
  upload,
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
