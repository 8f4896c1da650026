/** What an archive says of itself lies in `.codebegen/`: at no door does a generation get files there. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { GenerationWriter, Storage } from '../../node-agent/index.ts';
import { uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { hostEnvironment } from '../support/host.ts';
import { PythonStore } from '../support/python-store.ts';
import { run, runCli } from '../support/run.ts';
import { openTestStorage } from '../support/storage.ts';
import { makeTar } from '../support/tar.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { readTexts } from '../support/tree.ts';

const RESERVED = ['.codebegen/manifest.json', '.CodeBegen/x', '.code\u200dbegen', '.codebegen/a/b'];

test.each(RESERVED)('%j is refused in JSON, a form and the writer', async (path) => {
  const { daemon } = await startDaemon();
  const post = async (body: BodyInit, type?: string) => {
    const request = { method: 'POST', body, ...(type && { headers: { 'content-type': type } }) };
    const answer = await fetch(`${daemon.url}/v1/generations`, request);
    return { status: answer.status, problem: await answer.json() };
  };
  const json = JSON.stringify({ project_id: 'p', files: { a: 'a', [path]: 'x' } });
  const form = new FormData();
  form.set('project_id', 'p');
  form.set('a', new File(['a'], 'a'));
  form.set(path, new File(['x'], path));
  for (const { status, problem } of [await post(json, 'application/json'), await post(form)]) {
    expect([status, problem.code]).toEqual([400, 'invalid_input']);
    expect(problem.detail).toContain(JSON.stringify(path));
  }
  const storage = await openTestStorage();
  const writer: GenerationWriter = storage.writer({ projectId: 'p' });
  await expect(writer.write(path, 'x')).rejects.toMatchObject({ code: 'invalid_input' });
  await writer.abort();
  expect((await storage.list('p')).items).toEqual([]);
});

test('it is left out of a folder and of a tar, and named', async () => {
  const storage = await openTestStorage();
  const folder = await tempFolder();
  const paths = ['.codebegen/a/b', '.codebegen/manifest.json'];
  await writeFiles(folder, { 'main.py': 'x', ...Object.fromEntries(paths.map((at) => [at, 'x'])) });
  const ofFolder = await storage.saveFolder({ folder, projectId: 'folder' });
  expect(ofFolder.leftOut).toEqual({
    count: 1,
    items: [{ path: '.codebegen', reason: 'reserved' }],
  });
  const tar = makeTar([
    { name: './.codebegen/', type: '5' },
    ...paths.map((path) => ({ name: `./${path}`, content: 'x' })),
    // Twice: what is left out does not stand in its own way.
    { name: '.codebegen/manifest.json', content: 'y' },
    { name: './main.py', content: 'x' },
  ]);
  const ofTar = await storage.saveTar({ tar: oneByOne(tar), projectId: 'tar' });
  expect(ofTar.leftOut.items).toEqual(
    [...paths, '.codebegen/manifest.json'].map((path) => ({ path, reason: 'reserved' })),
  );
  for (const receipt of [ofFolder, ofTar]) {
    expect(await namesOf(storage, receipt.projectId)).toEqual(['main.py']);
  }
});

test('what was downloaded can be saved again: the same content has the same digest', async () => {
  const storage = await openTestStorage();
  const files = { 'app/main.py': 'print(1)', 'README.md': '# It' };
  const first = await storage.save({ projectId: 'p', files });
  const { path } = await storage.archive({ projectId: 'p', version: 1 });
  const again = await storage.saveTar({ tar: oneByOne(readFileSync(path)), projectId: 'again' });
  const unpacked = await tempFolder();
  expect((await run('tar', ['xzf', path, '-C', unpacked])).code).toBe(0);
  expect(Object.keys(readTexts(unpacked)).sort()).toEqual([
    '.codebegen/manifest.json',
    ...Object.keys(files).sort(),
  ]);
  const fromFolder = await storage.saveFolder({ folder: unpacked, projectId: 'unpacked' });
  expect([again.digest, fromFolder.digest]).toEqual([first.digest, first.digest]);
});

test('files of the Python system that lie there are left out, named, and never served', async () => {
  const env = await hostEnvironment();
  const python = new PythonStore(env.FILE_STORAGE_PATH);
  const files = { 'main.py': 'x', '.codebegen/manifest.json': 'forged' };
  const [versioned, flat] = [uniqueId('versioned'), uniqueId('flat')];
  const ref = (version: number) => ({ projectId: versioned, version, generationId: `g${version}` });
  python.versioned(ref(1), files, { 'artifacts/build.log': 'built' });
  python.archived(ref(2), files);
  python.flat(flat, files);
  const { daemon } = await startDaemon(env);
  const ask = (path: string) => fetch(`${daemon.url}/v1/projects/${path}`);
  for (const project of [versioned, flat]) {
    const listed = await (await ask(`${project}/1/files`)).json();
    expect(listed.items.map(({ path }: { path: string }) => path)).toEqual(['main.py']);
    expect((await ask(`${project}/1/files/.codebegen/manifest.json`)).status).toBe(404);
    const zip = join(await tempFolder(), 'a.zip');
    writeFileSync(zip, Buffer.from(await (await ask(`${project}/1/archive.zip`)).arrayBuffer()));
    const names = (await run('unzip', ['-Z1', zip])).stdout.trim().split('\n');
    expect(names).toEqual(['.codebegen/manifest.json', 'main.py']);
  }

  const migrated = await runCli(['migrate', '--json'], env);
  expect(migrated.code, migrated.stderr).toBe(3);
  const { problems } = JSON.parse(migrated.stdout);
  for (const [at, generation] of [
    [`${versioned}/generations/v1__g1`, `${versioned}/1`],
    [`${versioned}/archive/v2__g2.tar.gz`, `${versioned}/2`],
    [flat, `${flat}/1`],
  ]) {
    const path = expect.stringContaining(`${at}/`);
    expect(problems).toContainEqual({ path, reason: expect.stringContaining('archive keeps') });
    const files = await (await ask(`${generation}/files`)).json();
    expect(files.items).toEqual([expect.objectContaining({ path: 'main.py' })]);
  }
  const archive = join(await tempFolder(), 'a.tar.gz');
  const answer = await ask(`${versioned}/1/archive.tar.gz`);
  writeFileSync(archive, Buffer.from(await answer.arrayBuffer()));
  expect((await run('tar', ['tzf', archive])).stdout.trim().split('\n')).toEqual([
    '.codebegen/manifest.json',
    'main.py',
    '.codebegen/artifacts/build.log',
  ]);
});

async function namesOf(storage: Storage, projectId: string): Promise<string[]> {
  const generation = await storage.open({ projectId, version: 1 });
  onTestFinished(() => generation.close());
  return (await generation.files()).map(({ path }) => path);
}

async function* oneByOne(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
}
