/** What the Python system left may hold anything: links, pipes, devices. Each door that reads it. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { PythonStore } from '../support/python-store.ts';
import { runCli } from '../support/run.ts';
import { openTestStorage, settled } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

const SECRET = 'a secret that lies outside';
const REF = { projectId: 'old', version: 1, generationId: 'g' };
/** Longer than anything here may take. */
const SOON = 10_000;

/** A store, and beside it a folder that nobody may get to through it. */
async function place() {
  const around = await tempFolder();
  const storePath = join(around, 'store');
  const outside = join(around, 'outside');
  for (const folder of [storePath, outside]) mkdirSync(folder);
  writeFileSync(join(outside, 'shadow'), SECRET);
  return { storePath, outside, old: new PythonStore(storePath) };
}

/** What leads out, by what is put where. */
const LEADING_OUT: [string, (place: Awaited<ReturnType<typeof makeOld>>) => void][] = [
  [
    'source is a link',
    ({ folder, outside }) => {
      rmSync(join(folder, 'source'), { recursive: true });
      symlinkSync(outside, join(folder, 'source'));
    },
  ],
  [
    'a folder in source is a link',
    ({ folder, outside }) => {
      rmSync(join(folder, 'source/dir'), { recursive: true });
      symlinkSync(outside, join(folder, 'source/dir'));
    },
  ],
  [
    'a file is a link',
    ({ folder, outside }) => {
      rmSync(join(folder, 'source/dir/shadow'));
      symlinkSync(join(outside, 'shadow'), join(folder, 'source/dir/shadow'));
    },
  ],
  [
    "the generation's folder is a link",
    ({ folder, outside }) => {
      renameSync(folder, join(outside, 'generation'));
      symlinkSync(join(outside, 'generation'), folder);
    },
  ],
  [
    'generations is a link',
    ({ storePath, outside }) => {
      renameSync(join(storePath, 'old/generations'), join(outside, 'generations'));
      symlinkSync(join(outside, 'generations'), join(storePath, 'old/generations'));
    },
  ],
  [
    "the project's folder is a link",
    ({ storePath, outside }) => {
      renameSync(join(storePath, 'old'), join(outside, 'old'));
      symlinkSync(join(outside, 'old'), join(storePath, 'old'));
    },
  ],
  [
    'manifest.json is a link',
    ({ folder, outside }) => {
      renameSync(join(folder, 'manifest.json'), join(outside, 'manifest.json'));
      symlinkSync(join(outside, 'manifest.json'), join(folder, 'manifest.json'));
    },
  ],
];

async function makeOld() {
  const made = await place();
  const folder = made.old.versioned(REF, { 'dir/shadow': SECRET, 'main.py': 'x' });
  return { ...made, folder };
}

describe.each(LEADING_OUT)('an old generation where %s', (_, change) => {
  test('is refused by name at the daemon, and nothing of outside is served', async () => {
    const made = await makeOld();
    change(made);
    const { daemon } = await startDaemon({ FILE_STORAGE_PATH: made.storePath });
    for (const path of ['files', 'files/dir/shadow', 'archive.zip', 'archive.tar.gz']) {
      const url = `${daemon.url}/v1/projects/old/1/${path}`;
      const answer = await fetch(url, { signal: AbortSignal.timeout(SOON) });
      const body = await answer.text();
      expect(body, path).not.toContain(SECRET);
      expect(answer.status, `${path}: ${body}`).toBeGreaterThanOrEqual(400);
      expect(answer.status, `${path}: ${body}`).toBeLessThan(500);
    }
  });

  test('is refused by migrate, and told of by name', async () => {
    const made = await makeOld();
    change(made);
    const ran = await runCli(['migrate', '--json'], {
      FILE_STORAGE_PATH: made.storePath,
      CACHE_PATH: await tempFolder(),
    });
    expect(ran.code, ran.stdout).toBe(3);
    expect(ran.stdout).toMatch(/link/);
    const storage = await openTestStorage({ storePath: made.storePath });
    const saved = await storage.show({ projectId: 'old', version: 1 }).catch(() => null);
    // Whatever is known of it, no archive was made of it.
    expect(saved?.digest ?? null).toBeNull();
  });
});

test.each(['a link', 'a file'])('artifacts that are %s are refused by name', async (what) => {
  const { storePath, outside, folder } = await makeOld();
  if (what === 'a link') symlinkSync(outside, join(folder, 'artifacts'));
  else writeFileSync(join(folder, 'artifacts'), 'x');
  const ran = await runCli(['migrate', '--json'], { FILE_STORAGE_PATH: storePath });
  expect([ran.code, ran.stdout]).toEqual([3, expect.stringContaining('artifacts')]);
});

test('what only lies beside the files is left out by name: links, pipes, sockets, devices', async () => {
  const { storePath, outside, old } = await place();
  old.flat('flat', { 'main.py': 'x', 'sub/a.py': 'a' });
  const folder = join(storePath, 'flat');
  symlinkSync('.', join(folder, 'sub/one'));
  symlinkSync('.', join(folder, 'sub/two'));
  symlinkSync(outside, join(folder, 'sub/out'));
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  const { daemon } = await startDaemon({ FILE_STORAGE_PATH: storePath });
  const listed = await Promise.all(
    Array.from({ length: 5 }, () =>
      fetch(`${daemon.url}/v1/projects/flat/1/files`, { signal: AbortSignal.timeout(SOON) }).then(
        (answer) => answer.json() as Promise<{ items: { path: string }[] }>,
      ),
    ),
  );
  for (const { items } of listed) {
    expect(items.map(({ path }) => path)).toEqual(['main.py', 'sub/a.py']);
  }
  const ran = await runCli(['migrate', '--json'], { FILE_STORAGE_PATH: storePath });
  const { migrated, failed, problems } = JSON.parse(ran.stdout);
  expect([ran.code, migrated, failed]).toEqual([3, 1, 0]);
  const told = problems.map(({ path }: { path: string }) => path.slice(folder.length + 1)).sort();
  expect(told).toEqual(['pipe', 'sub/one', 'sub/out', 'sub/two']);
  daemon.child.kill('SIGTERM');
  await expect.poll(() => daemon.child.exitCode, { timeout: SOON }).toBe(0);
});

describe.each(['a pipe', 'a device', 'a socket', 'a folder'])(
  '%s in the place of a file',
  (what) => {
    test('of an old generation is named, and holds nobody up', async () => {
      const { storePath, folder } = await makeOld();
      const file = join(folder, 'source/main.py');
      rmSync(file);
      if (what === 'a pipe') execFileSync('mkfifo', [file]);
      else if (what === 'a device') symlinkSync('/dev/zero', file);
      else if (what === 'a folder') mkdirSync(file);
      else {
        const bind = `import socket,sys\nsocket.socket(socket.AF_UNIX).bind(sys.argv[1])`;
        execFileSync('python3', ['-c', bind, 's.sock'], { cwd: join(folder, 'source') });
        renameSync(join(folder, 'source/s.sock'), file);
      }
      const { daemon } = await startDaemon({ FILE_STORAGE_PATH: storePath });
      const get = (path: string) =>
        fetch(`${daemon.url}/v1/projects/old/1/${path}`, { signal: AbortSignal.timeout(SOON) });
      const answers = await Promise.all([
        ...Array.from({ length: 5 }, () => get('files')),
        get('files/main.py'),
        get('archive.zip'),
      ]);
      for (const answer of answers) {
        expect([answer.status, await answer.text()]).toEqual([
          422,
          expect.stringContaining('main.py'),
        ]);
      }
      // Others are served meanwhile, and it ends when it is told to.
      const saved = await fetch(`${daemon.url}/v1/generations`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ project_id: 'p', files: { a: 'x' } }),
      });
      expect(saved.status).toBe(201);
      daemon.child.kill('SIGTERM');
      await expect.poll(() => daemon.child.exitCode, { timeout: SOON }).toBe(0);
      const ran = await runCli(['migrate', '--json'], { FILE_STORAGE_PATH: storePath });
      expect([ran.code, ran.stdout]).toEqual([3, expect.stringContaining('main.py')]);
    });
  },
);

test('a pipe in the place of what the store keeps of a generation is named', async () => {
  const storePath = await tempFolder();
  const storage = await openTestStorage({ storePath });
  for (const name of ['manifest.json', 'archive.json']) {
    const projectId = name.replace(/\W/g, '-');
    const saved = await settled(storage, storage.save({ projectId, files: { a: 'x' } }));
    await storage.get(saved);
    rmSync(join(saved.path, name), { force: true });
    execFileSync('mkfifo', [join(saved.path, name)]);
  }
  const problems = [];
  for await (const verified of storage.verify())
    problems.push([verified.projectId, verified.problems]);
  expect(problems).toHaveLength(2);
  for (const [name, found] of problems)
    expect(JSON.stringify(found), String(name)).toContain('json');
});

test('a folder of an old project that never ends is left after a bounded look', async () => {
  const { storePath, old } = await place();
  old.flat('deep', { 'main.py': 'x' });
  let folder = join(storePath, 'deep');
  for (let depth = 0; depth < 12; depth++) {
    folder = join(folder, 'd'.repeat(100));
    mkdirSync(folder);
  }
  writeFileSync(join(folder, 'end'), '');
  const storage = await openTestStorage({ storePath });
  await expect(storage.get({ projectId: 'deep', version: 1 })).rejects.toMatchObject({
    code: expect.stringMatching(/invalid_input|corrupt|not_found/),
  });
  expect(readFileSync(join(storePath, 'deep/main.py'), 'utf8')).toBe('x');
});
