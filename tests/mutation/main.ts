/**
 * Makes small mistakes in what safety rests on, one at a time, and looks whether a test notices.
 *
 * Usage: `npm run mutate -- [group …]`; without one, all groups of `groups.ts`. It ends with 1 where
 * fewer than nine of ten mistakes are noticed, and prints those that are not.
 */
import { parseArgs } from 'node:util';
import type { MutantResult } from '@stryker-mutator/api/core';
import { Stryker } from '@stryker-mutator/core';
import { GROUPS, type Group } from './groups.ts';

const WANTED = 0.9;
const NOTICED = ['Killed', 'Timeout', 'RuntimeError'];

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    concurrency: { type: 'string', default: '2' },
    log: { type: 'string', default: 'error' },
  },
});
const names = positionals.length > 0 ? positionals : Object.keys(GROUPS);
const unknown = names.filter((name) => !(name in GROUPS));
if (unknown.length > 0) {
  console.error(
    `No such group: ${unknown.join(', ')}. There are ${Object.keys(GROUPS).join(', ')}`,
  );
  process.exit(2);
}

let all = 0;
let noticed = 0;
for (const name of names) {
  const results = await tryMistakes(GROUPS[name]!);
  const missed = results.filter(({ status }) => !NOTICED.includes(status));
  all += results.length;
  noticed += results.length - missed.length;
  console.log(`${name}: ${results.length - missed.length} of ${results.length} noticed`);
  for (const mistake of missed) console.log(`  ${describe(mistake)}`);
}
console.log(`${noticed} of ${all} mistakes were noticed`);
if (noticed < WANTED * all) process.exitCode = 1;

async function tryMistakes(group: Group): Promise<MutantResult[]> {
  process.env.MUTATION_TESTS = group.tests.join(' ');
  const stryker = new Stryker({
    mutate: group.mutate,
    testRunner: 'vitest',
    vitest: { configFile: 'tests/mutation/vitest.config.ts', related: false },
    plugins: ['@stryker-mutator/vitest-runner'],
    coverageAnalysis: 'perTest',
    concurrency: Number(values.concurrency),
    // The words of a message are for people: tests look at its code and at what it names.
    mutator: { excludedMutations: ['StringLiteral'] },
    // TypeScript 7 has no programming interface that Stryker could rewrite it with.
    tsconfigFile: 'none',
    ignorePatterns: ['/dist', '/storage'],
    timeoutFactor: 3,
    timeoutMS: 20_000,
    reporters: ['progress-append-only'],
    allowConsoleColors: false,
    logLevel: values.log,
  } as ConstructorParameters<typeof Stryker>[0]);
  const results = await stryker.runMutationTest();
  return results.filter(({ status }) => !['Ignored', 'CompileError'].includes(status));
}

function describe({ fileName, location, mutatorName, replacement, status }: MutantResult): string {
  const place = `${fileName}:${location.start.line}:${location.start.column}`;
  return `${place} ${mutatorName} -> ${replacement?.replace(/\s+/g, ' ').slice(0, 80)} (${status})`;
}
