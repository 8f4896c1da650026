/** The way back to the Python system: its files as they were, and what was saved since where it looks for it. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { PythonStore } from '../support/python-store.ts';
import { runCli } from '../support/run.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';

/** Reads every generation of a project as the old system does: what its manifest names, below `source/`. */
const READER = `
import hashlib, json, os, sys
found = {}
top = os.path.join(sys.argv[1], sys.argv[2], 'generations')
for name in sorted(os.listdir(top)):
    folder = os.path.join(top, name)
    if not name.startswith('v') or os.path.islink(folder):
        continue
    with open(os.path.join(folder, 'manifest.json')) as f:
        manifest = json.load(f)
    files = {}
    for path in manifest['files']:
        with open(os.path.join(folder, 'source', path), 'rb') as f:
            files[path] = hashlib.sha256(f.read()).hexdigest()
    assert manifest['file_count'] == len(files), name
    found[name] = [manifest['metadata'], files]
print(json.dumps([found, os.readlink(os.path.join(top, 'active')) if os.path.lexists(os.path.join(top, 'active')) else None]))
`;

function readAsPython(root: string, projectId: string): unknown {
  return JSON.parse(execFileSync('python3', ['-c', READER, root, projectId]).toString());
}

/** All below a folder: kind, mode and bytes, or what a link says. Not what only this system keeps there. */
function snapshot(root: string): Map<string, string> {
  const found = new Map<string, string>();
  const pending = [''];
  for (let folder = pending.pop(); folder !== undefined; folder = pending.pop()) {
    for (const entry of readdirSync(join(root, folder))) {
      const name = join(folder, entry);
      const path = join(root, name);
      const stat = lstatSync(path);
      if (stat.isDirectory()) pending.push(name);
      else if (stat.isSymbolicLink()) found.set(name, `link ${readlinkSync(path)}`);
      else found.set(name, `${(stat.mode & 0o777).toString(8)} ${readFileSync(path, 'base64')}`);
    }
  }
  return found;
}

function manifestIn(taken: string | undefined): object {
  return JSON.parse(Buffer.from(taken!.split(' ')[1]!, 'base64').toString());
}

const ref = (projectId: string, version: number) => ({
  projectId,
  version,
  generationId: `gen-${version}`,
});

/** As ugly as they were found. */
async function uglyStore(): Promise<PythonStore> {
  const store = new PythonStore(await tempFolder());
  const shop = store.versioned(
    ref('shop', 1),
    { 'app/main.py': 'print("größe")\r\n', 'app/__init__.py': '', 'data/leer zeichen.txt': ' ' },
    // Left behind by an earlier save, and made of it: no part of what its manifest names.
    { 'source/left-behind.py': 'x', 'build.log': 'done', 'artifacts/out.bin': '\0\x01' },
  );
  chmodSync(join(shop, 'source/app/main.py'), 0o755);
  symlinkSync('main.py', join(shop, 'source/app/alias.py'));
  mkdirSync(join(shop, 'source/empty'));
  store.versioned(ref('shop', 2), { 'app/main.py': '2', '.env.example': 'KEY=' });
  store.activate(ref('shop', 2));
  store.flat('flat', { 'main.py': 'flat', 'source/conf.py': 'c', 'README.md': '# r' });
  store.archived(ref('packed', 1), { 'main.py': 'packed', 'deep/er/file': 'x' });
  store.versioned(ref('packed', 2), { 'main.py': 'beside an archive' });
  // What it cannot migrate is left where it lies.
  writeFileSync(join(store.root, 'notes.txt'), 'of nobody');
  store.versioned(ref('broken', 1), { a: 'a' });
  writeFileSync(join(store.root, 'broken/generations/v1__gen-1/manifest.json'), '{');
  store.versioned(ref('twice', 1), { a: 'first' });
  store.versioned({ projectId: 'twice', version: 1, generationId: 'other' }, { a: 'second' });
  return store;
}

describe('after migrate, verify, saves, cleanup --trees and open --all', () => {
  test('each file of the Python system is what it was, byte for byte', async () => {
    const { root } = await uglyStore();
    const before = snapshot(root);
    const env = { FILE_STORAGE_PATH: root };
    const shopBefore = readAsPython(root, 'shop');
    const cli = (...args: string[]) => runCli(args, env);

    expect((await cli('migrate')).code).toBe(3);
    expect((await cli('verify')).code).toBe(0);
    expect((await cli('cleanup', '--trees')).code).toBe(0);
    expect((await cli('open', '--all')).code).toBe(0);

    const after = snapshot(root);
    for (const [name, was] of before) {
      const isMigrated = /generations\/v\d+__[^/]+\/manifest\.json$/.test(name);
      if (isMigrated && !name.startsWith('broken/')) {
        // Richer: what it had is the same.
        expect(manifestIn(after.get(name)), name).toMatchObject(manifestIn(was));
      } else expect(after.get(name), name).toBe(was);
    }
    expect(readAsPython(root, 'shop')).toEqual(shopBefore);
  });

  test('what was saved and replaced since is found by it, and what was deleted is gone', async () => {
    const { root } = await uglyStore();
    const env = { FILE_STORAGE_PATH: root };
    const out = await tempFolder();
    const cli = async (...args: string[]) => {
      const ran = await runCli(args, env);
      expect([ran.code, ran.stderr], args.join(' ')).toEqual([0, '']);
    };
    expect((await runCli(['migrate'], env)).code).toBe(3);
    await writeFiles(out, { 'app/main.py': 'new', 'größe 😀.txt': 'x', leer: '' });
    await cli('save', out, '--project', 'shop', '--generation', 'gen-3');
    await cli(
      'save',
      out,
      '--project',
      'shop',
      '--version',
      '1',
      '--generation',
      'gen-1',
      '--replace',
    );
    await cli('save', out, '--project', 'fresh', '--generation', 'gen-1');
    await cli('delete', 'shop', '2');
    await cli('activate', 'shop', '3');
    expect((await runCli(['cleanup', '--trees'], env)).code).toBe(0);
    await cli('open', '--all');

    const [found, active] = readAsPython(root, 'shop') as [
      Record<string, [unknown, object]>,
      string,
    ];
    expect(Object.keys(found)).toEqual(['v1__gen-1', 'v3__gen-3']);
    for (const [, files] of Object.values(found)) {
      expect(Object.keys(files).toSorted()).toEqual(['app/main.py', 'größe 😀.txt', 'leer']);
    }
    expect(active).toBe('v3__gen-3');
    expect(readAsPython(root, 'fresh')).toEqual([{ 'v1__gen-1': found['v3__gen-3'] }, null]);
  });
});
