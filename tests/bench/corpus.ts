/** Real code to measure with: what is installed under `node_modules`. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { ROOT } from '../support/run.ts';

/** A tree by its paths. */
export type Tree = Record<string, Buffer>;

/** Packages, from 20 to 3 000 files. */
export const PACKAGES = [
  ['@hono/node-server'],
  ['jose'],
  ['pino'],
  ['hono'],
  ['kysely'],
  ['kysely', '@sentry/core'],
] as const;

/** The files of packages, without what is installed inside of them. */
export function readPackages(names: readonly string[]): Tree {
  const tree: Tree = {};
  for (const name of names) {
    const root = join(ROOT, 'node_modules', name);
    for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      const inside = relative(root, path);
      if (!entry.isFile() || inside.includes('node_modules')) continue;
      tree[names.length === 1 ? inside : join(name, inside)] = readFileSync(path);
    }
  }
  return tree;
}

/** Some of many small sources, so many of them. */
export function readSources(count: number): Tree {
  const tree: Tree = {};
  for (const name of ['hono', 'kysely', 'pino', 'jose']) {
    for (const [path, content] of Object.entries(readPackages([name]))) {
      if (!/\.(js|ts|mjs|json)$/.test(path) || content.length > 20_000) continue;
      tree[`${name}/${path}`] = content;
      if (Object.keys(tree).length === count) return tree;
    }
  }
  throw new Error('There is not enough code installed');
}

/** Bytes of all files. */
export function bytesOf(tree: Tree): number {
  return Object.values(tree).reduce((sum, content) => sum + content.length, 0);
}
