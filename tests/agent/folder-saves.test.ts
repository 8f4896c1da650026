/** What a save of a folder takes, what it leaves out, and what it makes of a folder that changes. */
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DEFAULT_LIMITS } from '../../node-agent/contract.ts';
import type { SaveFolderInput, Storage } from '../../node-agent/index.ts';
import { takeInventory } from '../../node-agent/store/inventory.ts';
import { runCli } from '../support/run.ts';
import { openTestStorage } from '../support/storage.ts';
import { makeTar, type TarEntry } from '../support/tar.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { readTexts } from '../support/tree.ts';

const NOTHING = { patterns: [], defaults: true, gitignore: false };

/** Saves a folder with these files; gives what was taken, and what was left out and why. */
async function save(files: Record<string, string>, options: Partial<SaveFolderInput> = {}) {
  const folder = await tempFolder();
  await writeFiles(folder, files);
  return saveFolder(await openTestStorage(), folder, options);
}

async function saveFolder(
  storage: Storage,
  folder: string,
  options: Partial<SaveFolderInput> = {},
) {
  const receipt = await storage.saveFolder({ folder, projectId: 'p', ...options });
  const { manifest } = await storage.get(receipt);
  const leftOut = Object.fromEntries(
    receipt.leftOut.items.map(({ path, reason }) => [path, reason]),
  );
  expect(receipt.leftOut.count).toBe(receipt.leftOut.items.length);
  return { taken: manifest.files, leftOut };
}

describe('what is left out', () => {
  const files = {
    'app.py': '1',
    '.gitignore': '*.log\n',
    'debug.log': '2',
    '.git/config': '3',
    'web/node_modules/x/index.js': '4',
    '.venv/bin/python': '5',
    'app/__pycache__/app.pyc': '6',
    'build/out.js': '7',
  };

  test('by default is what anybody makes again, and nothing that .gitignore names', async () => {
    const { taken, leftOut } = await save(files);
    expect(taken).toEqual(['.gitignore', 'app.py', 'build/out.js', 'debug.log']);
    expect(leftOut).toEqual({
      '.git': 'excluded',
      'web/node_modules': 'excluded',
      '.venv': 'excluded',
      'app/__pycache__': 'excluded',
    });
  });

  test.each<[string, Partial<SaveFolderInput>, string[]]>([
    ['gitignore', { gitignore: true }, ['.gitignore', 'app.py', 'build/out.js']],
    ['exclude', { exclude: ['build/', '*.log'] }, ['.gitignore', 'app.py']],
    ['no default excludes', { defaultExcludes: false }, Object.keys(files).sort()],
  ])('by %s', async (_, options, taken) => {
    expect((await save(files, options)).taken).toEqual(taken);
  });

  test('by .codebegenignore files, of which a deeper one has the last word', async () => {
    const { taken } = await save({
      '.codebegenignore': '# made\n*.gen.ts\n/only-here\n',
      'a.gen.ts': '1',
      'only-here/x': '2',
      'sub/only-here/x': '3',
      'sub/.codebegenignore': '!kept.gen.ts\n',
      'sub/kept.gen.ts': '4',
      'sub/other.gen.ts': '5',
    });
    expect(taken).toEqual([
      '.codebegenignore',
      'sub/.codebegenignore',
      'sub/kept.gen.ts',
      'sub/only-here/x',
    ]);
  });

  test('by a pattern that takes for ever to match is refused, and names it', async () => {
    const pattern = `${'*a'.repeat(30)}b`;
    const bad = save({ '.codebegenignore': pattern, ['a'.repeat(200)]: '1' });
    await expect(bad).rejects.toMatchObject({
      code: 'invalid_input',
      message: expect.stringContaining('.codebegenignore'),
    });
  });

  test('of the agent’s own: its settings, the files of its secrets, its store and cache', async () => {
    const folder = await tempFolder();
    await writeFiles(folder, {
      'app.py': '1',
      'keys/supabase': 'sb_secret_of_this_test',
      'keys/token': 'token-of-this-test-0123',
      '.env': 'SUPABASE_SERVICE_KEY_FILE=keys/supabase\nAGENT_TOKEN_FILE=keys/token\n',
    });
    linkSync(join(folder, 'keys/token'), join(folder, 'by another name'));
    const env = { FILE_STORAGE_PATH: './data/store', CACHE_PATH: './data/cache' };
    const args = ['save', '.', '--project', 'p', '--json'];
    const ran = await runCli(args, env, folder);
    expect(ran.code, ran.stderr).toBe(0);
    const { left_out } = JSON.parse(ran.stdout);
    const got = await runCli(['get', 'p', '1'], env, folder);
    expect(readTexts(got.stdout.trim())).toEqual({ 'app.py': '1' });
    const names = left_out.items.map((item: { path: string }) => item.path).sort();
    expect(names).toEqual(['.env', 'by another name', 'data/store', 'keys/supabase', 'keys/token']);
  });

  test('is said by the command, and no part of its data', async () => {
    const folder = await tempFolder();
    await writeFiles(folder, { 'a.py': '1', 'node_modules/x.js': '2' });
    const env = { FILE_STORAGE_PATH: await tempFolder() };
    const ran = await runCli(['save', folder, '--project', 'p'], env);
    expect(ran.stderr).toBe('Left out 1: node_modules (excluded)\n');
    expect(ran.stdout).toContain('1 file,');
    const all = await runCli(
      ['save', folder, '--project', 'p', '--no-default-excludes', '--exclude', '*.py'],
      env,
    );
    expect([all.code, all.stderr]).toEqual([0, 'Left out 1: a.py (excluded)\n']);
  });
});

/** A folder with links of every kind, as files and as a tar. */
const LINKS: Record<string, string> = {
  'to-file': 'a/file',
  'to-folder': 'a',
  'a/up': '../b',
  chain: 'to-folder/up/file',
};

describe('symbolic links', () => {
  async function folderWith(links: Record<string, string>) {
    const folder = await tempFolder();
    await writeFiles(folder, { 'a/file': 'A', 'b/file': 'B' });
    for (const [path, target] of Object.entries(links)) symlinkSync(target, join(folder, path));
    return folder;
  }

  function tarWith(links: Record<string, string>) {
    const entries: TarEntry[] = [
      ...Object.entries(links).map(([name, linkName]) => ({ name, type: '2', linkName })),
      { name: 'a/', type: '5' },
      { name: 'a/file', content: 'A' },
      { name: 'b/file', content: 'B' },
    ];
    return (async function* () {
      yield makeTar(entries);
    })();
  }

  /** Through both doors: what was taken, and what was left out. */
  async function through(
    door: string,
    links: Record<string, string>,
    policy: 'skip' | 'error' | 'follow' | undefined,
  ) {
    const storage = await openTestStorage();
    const options = { projectId: 'p', ...(policy === undefined ? {} : { links: policy }) };
    const receipt =
      door === 'a folder'
        ? await storage.saveFolder({ folder: await folderWith(links), ...options })
        : await storage.saveTar({ tar: tarWith(links), ...options });
    const files = readTexts((await storage.get(receipt)).sourcePath);
    return { files, leftOut: receipt.leftOut };
  }

  describe.each(['a folder', 'a tar'])('in %s', (door) => {
    test('are left out by default, and counted', async () => {
      const { files, leftOut } = await through(door, LINKS, undefined);
      expect(files).toEqual({ 'a/file': 'A', 'b/file': 'B' });
      expect(leftOut.count).toBe(4);
      expect(leftOut.items.map(({ path, reason }) => [path, reason]).sort()).toEqual(
        Object.keys(LINKS)
          .sort()
          .map((path) => [path, 'link']),
      );
    });

    test('have what they lead to in their place where they are followed', async () => {
      const { files, leftOut } = await through(door, LINKS, 'follow');
      expect(files).toEqual({
        ...{ 'a/file': 'A', 'b/file': 'B', 'a/up/file': 'B', chain: 'B' },
        ...{ 'to-file': 'A', 'to-folder/file': 'A', 'to-folder/up/file': 'B' },
      });
      expect(leftOut.count).toBe(0);
    });

    test.each<[string, Record<string, string>]>([
      ['any', { link: 'a' }],
      ['one that leads nowhere', { link: 'nowhere' }],
    ])('%s is refused by name where that is asked for', async (_, links) => {
      await expect(through(door, links, 'error')).rejects.toMatchObject({
        code: 'invalid_input',
        message: expect.stringContaining('"link"'),
      });
    });

    test.each<[string, Record<string, string>]>([
      ['out of it', { link: '../outside' }],
      ['to an absolute path', { link: '/etc/hostname' }],
      ['nowhere', { link: 'nowhere' }],
      ['to itself', { link: 'link' }],
      ['in a circle', { link: 'other', other: 'link' }],
      ['to the folder that it lies in', { link: '.' }],
      ['to folders that lead to each other', { 'a/link': '../b', 'b/link': '../a' }],
    ])('are not followed where they lead %s', async (_, links) => {
      await expect(through(door, links, 'follow')).rejects.toMatchObject({
        code: 'invalid_input',
        message: expect.stringMatching(/link/),
      });
    });
  });
});

describe('links of a tar that cost more than they seem to', () => {
  const save = async (entries: TarEntry[]) => {
    const storage = await openTestStorage();
    const tar = (async function* () {
      yield makeTar(entries);
    })();
    const began = performance.now();
    let turns = 0;
    const timer = setInterval(() => turns++, 10);
    const error = await storage.saveTar({ projectId: 'p', tar, links: 'follow' }).then(
      () => null,
      (reason: { code: string }) => reason,
    );
    clearInterval(timer);
    expect(performance.now() - began).toBeLessThan(2000);
    return error?.code;
  };
  const linkTo = (name: string, target: string): TarEntry[] => {
    const rest = ` linkpath=${target}\n`;
    let length = rest.length + 1;
    while (String(length).length + rest.length !== length) length++;
    return [
      { name: 'PaxHeader', type: 'x', content: `${length}${rest}` },
      { name, type: '2', linkName: 'cut' },
    ];
  };

  test('as one to a path without end', async () => {
    const entries = [{ name: 'a/f', content: 'x' }, ...linkTo('link', 'a/../'.repeat(40_000))];
    expect(await save(entries)).toBe('invalid_input');
  });

  test('as links without number', async () => {
    const links = Array.from({ length: 5000 }, (_, i) => ({
      ...{ name: `l${i}`, type: '2', linkName: 'f' },
    }));
    expect(await save([{ name: 'f', content: 'x' }, ...links])).toBe('too_large');
  });

  test('as links that lead to each other’s folders', async () => {
    const links: TarEntry[] = [];
    let folder = '';
    for (let depth = 0; depth < 20; depth++) {
      links.push({ name: `${folder}z`, type: '2', linkName: 'b' });
      folder += 'b/';
    }
    for (let i = 0; i < 100; i++) links.push({ name: `${folder}l${i}`, type: '2', linkName: 'f' });
    links.push({ name: `${folder}f`, content: 'x' });
    expect(['too_large', 'invalid_input']).toContain(await save(links));
  });
});

describe('a file of patterns that cannot be used', () => {
  test.each<[string, (file: string) => void]>([
    ['is in UTF-16', (file) => writeFileSync(file, Buffer.from('\ufeffsecret.key\n', 'utf16le'))],
    ['is a link', (file) => symlinkSync('elsewhere', file)],
    ['is a pipe', (file) => execFileSync('mkfifo', [file])],
    ['is a folder', (file) => mkdirSync(file)],
    ['has a pattern of 60 000 characters', (file) => writeFileSync(file, '?'.repeat(60_000))],
    ['is larger than any', (file) => writeFileSync(file, '# x\n'.repeat(50_000))],
  ])('because it %s keeps everything from being saved, and is named', async (_, put) => {
    for (const name of ['.codebegenignore', '.gitignore']) {
      const folder = await tempFolder();
      await writeFiles(folder, { 'secret.key': 's', elsewhere: 'secret.key\n' });
      put(join(folder, name));
      const storage = await openTestStorage();
      const saving = storage.saveFolder({ folder, projectId: 'p', gitignore: true });
      await expect(saving).rejects.toMatchObject({
        code: 'invalid_input',
        message: expect.stringContaining(name),
      });
    }
  });
});

describe('a folder that changes while it is read', () => {
  /** Lists it, has it changed, then reads on: as if somebody had been quick. */
  function readChanged(folder: string, change: () => void, keepBytes = 0): () => void {
    const source = { kind: 'folder', folder, exclude: NOTHING, links: 'skip', own: [] } as const;
    return () => {
      const { entries, read } = takeInventory(source, DEFAULT_LIMITS);
      change();
      for (const { path } of entries) for (const _ of read(path));
      void keepBytes;
    };
  }

  // Larger than what is kept from the first reading.
  const LARGE = 'x'.repeat(9 * 1024 * 1024);
  test.each<[string, (file: string) => void]>([
    ['removed', (file) => rmSync(file)],
    ['appended to', (file) => writeFileSync(file, 'more', { flag: 'a' })],
    ['truncated', (file) => truncateSync(file, 10)],
    ['written over', (file) => writeFileSync(file, LARGE.replace('x', 'y'))],
    [
      'swapped for a link',
      (file) => {
        rmSync(file);
        symlinkSync('/etc/passwd', file);
      },
    ],
    [
      'swapped for a pipe',
      (file) => {
        rmSync(file);
        execFileSync('mkfifo', [file]);
      },
    ],
    [
      'swapped for a folder',
      (file) => {
        rmSync(file);
        mkdirSync(file);
      },
    ],
  ])('a file that is %s is a conflict that names it', async (_, change) => {
    const folder = await tempFolder();
    await writeFiles(folder, { 'sub/large': LARGE });
    expect(readChanged(folder, () => change(join(folder, 'sub/large')))).toThrow(
      expect.objectContaining({
        code: 'conflict',
        message: expect.stringContaining('"sub/large"'),
      }),
    );
  });

  test('a folder in it that is swapped for a link leads nowhere', async () => {
    const folder = await tempFolder();
    const outside = await tempFolder();
    await writeFiles(folder, { 'sub/large': LARGE });
    await writeFiles(outside, { large: LARGE });
    const swap = () => {
      rmSync(join(folder, 'sub'), { recursive: true });
      symlinkSync(outside, join(folder, 'sub'));
    };
    expect(readChanged(folder, swap)).toThrow(expect.objectContaining({ code: 'conflict' }));
  });

  test('for as long as it is saved: either all of it is saved, or it is said that it changed', async () => {
    const folder = await tempFolder();
    await writeFiles(
      folder,
      Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`f${i}`, 'before'])),
    );
    const storage = await openTestStorage();
    let isDone = false;
    const saving = storage
      .saveFolder({ folder, projectId: 'p' })
      .then(
        (receipt) => ({ receipt }),
        (error: { code: string }) => ({ error }),
      )
      .finally(() => {
        isDone = true;
      });
    for (let i = 0; !isDone; i = (i + 1) % 200) {
      const file = join(folder, `f${i}`);
      rmSync(file, { force: true });
      symlinkSync('/etc/hostname', file);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const outcome = await saving;
    if ('error' in outcome) expect(['conflict', 'invalid_input']).toContain(outcome.error.code);
    else {
      const files = readTexts((await storage.get(outcome.receipt)).sourcePath);
      expect(new Set(Object.values(files))).toEqual(new Set(['before']));
    }
  });
});

test.each(['/proc/self/fdinfo', '/proc/self/fd'])(
  '%s is refused by name, not with a fault of ours',
  async (folder) => {
    const storage = await openTestStorage();
    const error = await storage.saveFolder({ folder, projectId: 'p' }).then(
      () => null,
      (reason: { code: string; message: string }) => reason,
    );
    if (error !== null) expect(['conflict', 'invalid_input']).toContain(error.code);
  },
);
