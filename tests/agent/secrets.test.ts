/** A secret that was asked for is never taken as none, and no other user of the host gets to one. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { builtProgram, run, runCli } from '../support/run.ts';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';

const TOKEN = 'a-token-of-sixteen-or-more';
const BOM = '\ufeff';
const utf16 = (text: string) => Buffer.from(`${BOM}${text}`, 'utf16le');

describe('the file of a secret that is', () => {
  test.each<[string, string | Buffer]>([
    ['empty', ''],
    ['a line break alone', '\n'],
    ['blanks alone', ' \t\r\n'],
    ['a BOM alone', BOM],
    ['in UTF-16', utf16(TOKEN)],
    ['zeros', Buffer.alloc(32)],
  ])('%s keeps the daemon from starting, and is named', async (_, content) => {
    const folder = await tempFolder();
    writeFileSync(join(folder, 'secret'), content);
    for (const name of ['AGENT_TOKEN', 'SUPABASE_SERVICE_KEY']) {
      const ran = await runCli(
        ['start'],
        { FILE_STORAGE_PATH: folder, AGENT_PORT: '0', [`${name}_FILE`]: join(folder, 'secret') },
        folder,
      );
      expect(ran.code).toBe(1);
      expect(ran.stderr).toContain(`${name}_FILE names a file`);
      expect(ran.stderr).toContain(join(folder, 'secret'));
    }
  });

  test('a pipe, or without end, keeps nobody waiting', async () => {
    const folder = await tempFolder();
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    for (const file of [join(folder, 'pipe'), '/dev/zero']) {
      const ran = await runCli(['start'], { FILE_STORAGE_PATH: folder, AGENT_TOKEN_FILE: file });
      expect([ran.code, ran.stderr]).toEqual([1, expect.stringContaining(file)]);
    }
    execFileSync('mkfifo', [join(folder, '.env')]);
    const ran = await runCli(['status'], { FILE_STORAGE_PATH: folder }, folder);
    expect([ran.code, ran.stderr]).toEqual([1, expect.stringContaining('.env')]);
  });

  test('after a BOM is the secret without it', async () => {
    const folder = await tempFolder();
    writeFileSync(join(folder, 'token'), `${BOM}${TOKEN}\n`);
    const { daemon } = await startDaemon({ AGENT_TOKEN_FILE: join(folder, 'token') });
    const ask = (token: string) =>
      fetch(`${daemon.url}/v1/status`, { headers: { authorization: `Bearer ${token}` } });
    expect((await ask(TOKEN)).status).toBe(200);
    expect((await ask('')).status).toBe(401);
  });

  test.each(['AGENT_TOKEN', 'AGENT_TOKEN_FILE', 'AGENT_ADMIN_TOKEN'])(
    '%s that is set to nothing is refused',
    async (name) => {
      const folder = await tempFolder();
      const ran = await runCli(['start'], { FILE_STORAGE_PATH: folder, [name]: '' }, folder);
      expect([ran.code, ran.stderr]).toEqual([
        1,
        expect.stringContaining(`${name} is set and empty`),
      ]);
    },
  );
});

describe('a .env', () => {
  // The first is what a BOM would hide.
  const settings = `FILE_STORAGE_PATH=./kept\nAGENT_TOKEN=${TOKEN}\n`;

  async function start(content: string | Buffer | null, change: (file: string) => void = () => {}) {
    const folder = await tempFolder();
    const file = join(folder, '.env');
    if (content !== null) writeFileSync(file, content);
    mkdirSync(join(folder, 'kept'));
    change(file);
    const env = { FILE_STORAGE_PATH: undefined, CACHE_PATH: undefined };
    return { folder, ran: await runCli(['status', '--json'], env, folder) };
  }

  test.each<[string, string]>([
    ['as it is', settings],
    ['after a BOM', BOM + settings],
    ['with line breaks of Windows', settings.replaceAll('\n', '\r\n')],
  ])('%s is read', async (_, content) => {
    const { folder, ran } = await start(content);
    expect(JSON.parse(ran.stdout).store_path, ran.stderr).toBe(join(folder, 'kept'));
  });

  test.each<[string, Buffer | string | null, (file: string) => void]>([
    ['in UTF-16', utf16(settings), () => {}],
    ['in UTF-16 of the other order', utf16(settings).swap16(), () => {}],
    ['in Latin-1', Buffer.from('AGENT_TOKEN=\xe4\n', 'latin1'), () => {}],
    ['a folder', null, (file) => mkdirSync(file)],
  ])('that is %s is refused by name', async (_, content, change) => {
    const { folder, ran } = await start(content, change);
    expect([ran.code, ran.stdout]).toEqual([1, expect.stringContaining(join(folder, '.env'))]);
    expect(JSON.parse(ran.stdout).code).toBe('invalid_input');
  });

  test.skipIf(process.getuid?.() !== 0)('that may not be read is refused by name', async () => {
    const folder = await tempFolder();
    writeFileSync(join(folder, '.env'), settings, { mode: 0o000 });
    chmodSync(folder, 0o755);
    const ran = await asNobody(folder, 'status --json');
    expect([ran.code, ran.stdout]).toEqual([1, expect.stringContaining('.env')]);
  });
});

/** Runs a command as another user, in a folder. */
function asNobody(folder: string, command: string) {
  const bin = builtProgram('node-agent/bin');
  const inner = `cd ${folder} && exec ${process.execPath} ${bin} ${command}`;
  return run('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', 'sh', '-c', inner], {
    env: { FILE_STORAGE_PATH: join(folder, 'store'), NODE_COMPILE_CACHE: undefined },
  });
}

describe('init --force', () => {
  test.each<[string, (file: string, elsewhere: string) => void]>([
    ['a .env that others can read', (file) => writeFileSync(file, 'old', { mode: 0o644 })],
    [
      'a link to somewhere else',
      (file, elsewhere) => {
        writeFileSync(elsewhere, 'not ours', { mode: 0o644 });
        symlinkSync(elsewhere, file);
      },
    ],
    ['a link that leads nowhere', (file, elsewhere) => symlinkSync(elsewhere, file)],
  ])('over %s leaves a file of its own, for its owner alone', async (_, put) => {
    const folder = await tempFolder();
    const elsewhere = join(await tempFolder(), 'elsewhere');
    put(join(folder, '.env'), elsewhere);
    const before = existsSync(elsewhere) ? readFileSync(elsewhere, 'utf8') : null;
    expect((await runCli(['init'], {}, folder)).code).toBe(1);
    expect((await runCli(['init', '--force'], {}, folder)).code).toBe(0);
    const stat = lstatSync(join(folder, '.env'));
    expect([stat.isFile(), stat.mode & 0o777]).toEqual([true, 0o600]);
    expect(existsSync(elsewhere) ? readFileSync(elsewhere, 'utf8') : null).toBe(before);
    expect(readdirSync(folder)).toEqual(['.env']);
  });
});

describe('the key of download URLs', () => {
  test.each<[string, (file: string) => void]>([
    ['empty', (file) => truncateSync(file, 0)],
    ['short', (file) => truncateSync(file, 5)],
    ['long', (file) => writeFileSync(file, Buffer.alloc(33))],
  ])('that is %s signs nothing: it is made anew, and told', async (_, spoil) => {
    const storePath = await tempFolder();
    const problems: string[] = [];
    const storage = await openTestStorage({
      storePath,
      onProblem: (error) => problems.push((error as Error).message),
    });
    storage.announce('http://127.0.0.1:1');
    const ref = await storage.save({ projectId: 'p', files: { a: 'x' } });
    const before = (await storage.downloadUrl(ref))!.url;
    const file = join(storePath, '.codebegen-storage/url-key');
    spoil(file);
    const spoilt = readFileSync(file);
    const after = (await storage.downloadUrl(ref))!.url;
    expect(problems.join()).toContain('no whole key');
    expect(statSync(file).size).toBe(32);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file).equals(spoilt)).toBe(false);
    expect(new URL(after).searchParams.get('signature')).not.toBe(
      new URL(before).searchParams.get('signature'),
    );
    problems.length = 0;
    await storage.downloadUrl(ref);
    expect(problems).toEqual([]);
  });
});

describe.skipIf(process.getuid?.() !== 0)('another user of the host', () => {
  test.each(['000', '022', '077'])('reads nothing that was made under umask %s', async (umask) => {
    const folder = await tempFolder();
    chmodSync(folder, 0o755);
    await writeFiles(folder, { 'source/app.py': 'secret', 'source/run.sh': '#!/bin/sh' });
    chmodSync(join(folder, 'source/run.sh'), 0o755);
    chmodSync(join(folder, 'source/app.py'), 0o644);
    const bin = builtProgram('node-agent/bin');
    const script = [
      `umask ${umask}`,
      `${process.execPath} ${bin} save source --project p`,
      `${process.execPath} ${bin} save source --project p --exclude run.sh --version 1 --replace`,
      `${process.execPath} ${bin} save source --project p`,
      `${process.execPath} ${bin} delete p 1`,
      `${process.execPath} ${bin} activate p 2`,
      `${process.execPath} ${bin} get p 2 --to copy`,
    ].join(' && ');
    const ran = await run('sh', ['-c', script], {
      cwd: folder,
      env: { FILE_STORAGE_PATH: `${folder}/store`, CACHE_PATH: `${folder}/cache` },
    });
    expect(ran.code, ran.stderr).toBe(0);
    const modes = execFileSync('find', ['store', '-printf', '%y %m %p\n'], {
      cwd: folder,
    }).toString();
    for (const line of modes.trim().split('\n')) {
      if (line.startsWith('l ')) continue;
      expect(line).toMatch(/^(d 700|f 600|f 700) /);
    }
    // What is asked for has the modes that were saved.
    const copied = (path: string) => statSync(join(folder, 'copy', path)).mode & 0o777;
    expect([copied('app.py'), copied('run.sh')]).toEqual([0o644, 0o755]);
    const spied = await run('setpriv', [
      ...['--reuid=65534', '--regid=65534', '--clear-groups'],
      ...[
        'sh',
        '-c',
        `cat ${folder}/store/.codebegen-storage/catalog.sqlite ${folder}/store/p/generations/*/source/*`,
      ],
    ]);
    expect([spied.code, spied.stdout]).not.toEqual([0, expect.anything()]);
    expect(spied.stdout).not.toContain('secret');
  });

  test('who could read an old store cannot once doctor --fix ran; before, it is named', async () => {
    const folder = await tempFolder();
    const store = join(folder, 'store');
    mkdirSync(join(store, 'old'), { recursive: true });
    writeFileSync(join(store, 'old/main.py'), 'x');
    for (const path of [store, join(store, 'old')]) chmodSync(path, 0o755);
    const env = { FILE_STORAGE_PATH: store, CACHE_PATH: join(folder, 'cache') };
    const before = await runCli(['doctor'], env, folder);
    expect(before.stdout).toContain(`"${store}/old" can be read by other users`);
    expect(before.stdout).toContain('doctor --fix');
    expect((await runCli(['doctor', '--fix'], env, folder)).code).toBe(0);
    expect(statSync(store).mode & 0o777).toBe(0o700);
    expect((await runCli(['doctor'], env, folder)).stdout).not.toContain('can be read');
  });
});

test('the zip and the tree of a daemon under umask 077 have the modes that were saved', async () => {
  const before = process.umask(0o077);
  const { daemon } = await startDaemon().finally(() => process.umask(before));
  const saved = await fetch(`${daemon.url}/v1/generations`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      project_id: 'p',
      files: { 'a.txt': 'a', 'run.sh': { content: '#', mode: 0o755 } },
    }),
  });
  expect(saved.status).toBe(201);
  const zip = await fetch(`${daemon.url}/v1/projects/p/1/archive.zip`);
  const folder = await tempFolder();
  writeFileSync(join(folder, 'p.zip'), Buffer.from(await zip.arrayBuffer()));
  execFileSync('python3', [
    '-c',
    `import zipfile,sys
for i in zipfile.ZipFile(sys.argv[1]).infolist(): print(i.filename, oct(i.external_attr >> 16), file=open(sys.argv[2], 'a'))`,
    join(folder, 'p.zip'),
    join(folder, 'modes'),
  ]);
  expect(readFileSync(join(folder, 'modes'), 'utf8')).toBe(
    '.codebegen/manifest.json 0o100644\na.txt 0o100644\nrun.sh 0o100755\n',
  );
});
