import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ROOT } from '../support/run.ts';

/**
 * Imports go one way: down this list. A file may import from its own layer's folder and from
 * the layers below; two folders of one layer do not know each other.
 */
const LAYERS: string[][] = [
  ['node-agent/bin.ts', 'supabase/embedded'],
  ['node-agent/cli'],
  ['node-agent/daemon', 'node-agent/doctor', 'node-agent/migrate'],
  ['node-agent/index.ts'],
  ['node-agent'],
  ['node-agent/store', 'node-agent/cache', 'node-agent/outbox', 'node-agent/cloud'],
  ['node-agent/archive'],
  ['node-agent/disk', 'node-agent/threads.ts', 'node-agent/events.ts', 'node-agent/outage.ts'],
  ['node-agent/contract.ts'],
  ['functions/client'],
  ['functions/generations'],
  ['functions/_shared'],
  ['functions/_shared/contract'],
];

const files = ['functions', 'node-agent', 'supabase/embedded'].flatMap(listSources);
const imports = new Map(files.map((file) => [file, importsOf(file)]));

describe('imports go one way', () => {
  test.each(files)('%s', (file) => {
    for (const target of imports.get(file)!.local) {
      const from = layerOf(file);
      const to = layerOf(target);
      const allowed = from.name === to.name || from.rank < to.rank;
      expect(allowed, `${file} (${from.name}) imports ${target} (${to.name})`).toBe(true);
    }
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
    for (const target of runtime) expect(target).toMatch(/^functions\/_shared\/contract\//);
    expect(packages).toEqual(['hono/client']);
  });

  test('functions know nothing of the agent or the embedded stack', () => {
    for (const file of files.filter((name) => name.startsWith('functions/'))) {
      for (const target of imports.get(file)!.local) expect(target).toMatch(/^functions\//);
    }
  });

  test('the contract needs no runtime and one library', () => {
    for (const file of files.filter((name) => name.startsWith('functions/_shared/contract/'))) {
      expect(imports.get(file)!.packages.filter((name) => name !== 'valibot')).toEqual([]);
      const text = readFileSync(join(ROOT, file), 'utf8');
      expect(text, file).not.toMatch(/\b(process|Deno|Buffer|require)\b[.(]/);
    }
  });

  test('there are no cycles', () => {
    const done = new Set<string>();
    const visit = (file: string, path: string[]): void => {
      expect(path, [...path, file].join(' → ')).not.toContain(file);
      if (done.has(file)) return;
      for (const target of imports.get(file)?.runtime ?? []) visit(target, [...path, file]);
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
    ]);
    expect(readers.filter((file) => file.startsWith('node-agent/'))).toEqual([
      'node-agent/cli/context.ts',
    ]);
  });
});

function layerOf(file: string): { rank: number; name: string } {
  let found = { rank: -1, name: '' };
  LAYERS.forEach((names, rank) => {
    for (const name of names) {
      const inside = file === name || file.startsWith(`${name}/`);
      if (inside && name.length > found.name.length) found = { rank, name };
    }
  });
  expect(found.rank, `${file} is in no layer`).toBeGreaterThanOrEqual(0);
  return found;
}

function listSources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((name) => name.endsWith('.ts'))
    .sort();
}

function importsOf(file: string) {
  const text = readFileSync(join(ROOT, file), 'utf8');
  const local: string[] = [];
  const runtime: string[] = [];
  const packages: string[] = [];
  const pattern =
    /^(?:import|export)\s+(type\s)?[^;'"]*?from\s+'([^']+)'|import\('([^']+)'\)|^import '([^']+)'/gm;
  for (const [, onlyTypes, named, dynamic, bare] of text.matchAll(pattern)) {
    const specifier = named ?? dynamic ?? bare ?? '';
    if (!specifier.startsWith('.')) packages.push(specifier);
    else {
      const target = relative(ROOT, resolve(ROOT, dirname(file), specifier));
      local.push(target);
      if (!onlyTypes) runtime.push(target);
    }
  }
  return { local, runtime, packages };
}
