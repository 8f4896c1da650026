import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { FLOORS, readImports, roomOf, writePlan } from '../../docs/write-plan.ts';
import { ROOT } from '../support/run.ts';

const imports = readImports();
const files = [...imports.keys()];

test.each([
  'generations',
  'projects',
  'jobs',
  'meta',
  'events',
  'activity',
  'deliveries',
  'receivers',
])('the rows of %s are changed in one file, and nobody else knows SQL', (table) => {
  const changes = new RegExp(`\\b(insert( or \\w+)? into|update|delete from) ${table}\\b`);
  const writers = files.filter((file) => changes.test(readFileSync(join(ROOT, file), 'utf8')));
  expect(writers.filter((file) => file.startsWith('node-agent/'))).toEqual([
    `node-agent/catalog/${table}.ts`,
  ]);
});

/** What reads better whole, and why. */
const LONG: Readonly<Record<string, string>> = {
  'node-agent/storage/storage.ts':
    'the door: a line for each call, under what is to be known of it',
  'functions/client/index.ts':
    'the client: a method for each route, under what is to be known of it',
  'functions/_shared/contract/tar.ts': 'one format, read from its first byte to its last',
};

test('a file fits on three screens, and hides no state', () => {
  const long = files.filter((file) => {
    const text = readFileSync(join(ROOT, file), 'utf8');
    expect(text, file).not.toMatch(/\bas never\b|\bnew WeakSet|\bAsyncLocalStorage\b/);
    return /^(node-agent|functions)\//.test(file) && text.split('\n').length > 301;
  });
  expect(long.toSorted()).toEqual(Object.keys(LONG).toSorted());
});

describe('imports go one way', () => {
  test.each(files)('%s', (file) => {
    const from = roomOf(file);
    expect(from, `${file} is in no room: docs/write-plan.ts lists them`).not.toBeNull();
    for (const target of imports.get(file)!.local) {
      const to = roomOf(target)!;
      const isAllowed = from!.room === to.room || from!.floor < to.floor;
      expect(isAllowed, refusal(file, target)).toBe(true);
    }
  });

  test('node-agent has rooms, and five files at its door', () => {
    const atTheDoor = files.filter((file) => /^node-agent\/[^/]+$/.test(file));
    expect(atTheDoor).toEqual(
      ['bin', 'bundle', 'config', 'contract', 'index'].map((name) => `node-agent/${name}.ts`),
    );
  });

  test('docs/architecture.md has the plan as `npm run docs` draws it', () => {
    const architecture = readFileSync(join(ROOT, 'docs/architecture.md'), 'utf8');
    expect(architecture).toBe(writePlan(architecture));
  });

  test('node-agent reaches into functions for the contract alone, through one file', () => {
    for (const file of files.filter((name) => name.startsWith('node-agent/'))) {
      const reached = imports.get(file)!.local.filter((name) => name.startsWith('functions/'));
      if (file === 'node-agent/contract.ts') {
        for (const target of reached) expect(target).toMatch(/^functions\/_shared\/contract\//);
      } else {
        expect(reached, file).toEqual([]);
      }
    }
  });

  test('the client takes nothing along but the contract', () => {
    const { runtime, packages } = imports.get('functions/client/index.ts')!;
    for (const target of runtime)
      expect(target).toMatch(/^functions\/(_shared\/contract|client)\//);
    expect(packages).toEqual(['hono/client']);
  });

  test('functions know nothing of the agent or the embedded stack', () => {
    for (const file of files.filter((name) => name.startsWith('functions/'))) {
      for (const target of imports.get(file)!.local) expect(target).toMatch(/^functions\//);
    }
  });

  /** And what makes JSON Schema of its schemas. */
  const VALIBOT = new Set(['valibot', '@valibot/to-json-schema']);

  test('the contract needs no runtime, and valibot alone', () => {
    for (const file of files.filter((name) => name.startsWith('functions/_shared/contract/'))) {
      expect(imports.get(file)!.packages.filter((name) => !VALIBOT.has(name))).toEqual([]);
      const text = readFileSync(join(ROOT, file), 'utf8');
      expect(text, file).not.toMatch(/\b(process|Deno|Buffer|require)\b[.(]/);
    }
  });

  test('there are no cycles, of types neither', () => {
    const done = new Set<string>();
    const visit = (file: string, path: string[]): void => {
      expect(path, [...path, file].join(' → ')).not.toContain(file);
      if (done.has(file)) return;
      for (const target of imports.get(file)?.local ?? []) visit(target, [...path, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
  });

  test('the environment is read in one file of each side', () => {
    const readers = files.filter((file) =>
      /process\.env\b|Deno\.env/.test(readFileSync(join(ROOT, file), 'utf8')),
    );
    expect(readers.filter((file) => file.startsWith('functions/'))).toEqual([
      'functions/generations/index.ts',
      'functions/hosts/index.ts',
    ]);
    expect(readers.filter((file) => file.startsWith('node-agent/'))).toEqual([
      'node-agent/cli/context.ts',
    ]);
  });
});

/** Why an import is not allowed, and what to do. */
function refusal(file: string, target: string): string {
  const [from, to] = [roomOf(file)!, roomOf(target)!];
  const below = FLOORS.slice(from.floor + 1)
    .flat()
    .map(({ path }) => path);
  return [
    `${file} imports ${target}.`,
    `${from.room.path} (${from.room.does}) may not know ${to.room.path} (${to.room.does}):`,
    'what is below is used from several places above, and must work without them.',
    `It may know ${below.join(', ')}.`,
    'Give it what it needs as an argument, or move the file to where it belongs.',
  ].join('\n');
}
