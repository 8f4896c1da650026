/** The commands of the documents, as they stand there, and the unit for systemd. */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { PythonStore } from '../support/python-store.ts';
import { ROOT, run } from '../support/run.ts';
import { tempFolder } from '../support/temp.ts';

/** Runs every shell block of a document, one line after another, with `codebegen-storage` on the PATH. */
async function runBlocks(name: string, env: Record<string, string>, daemonUrl = ''): Promise<void> {
  const text = readFileSync(join(ROOT, 'docs', name), 'utf8');
  const blocks = [...text.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block]) => block!);
  expect(blocks.length).toBeGreaterThan(2);
  const folder = await tempFolder();
  const command = join(folder, 'codebegen-storage');
  writeFileSync(command, `#!/bin/sh\nexec ${process.execPath} ${ROOT}/node-agent/bin.ts "$@"\n`);
  chmodSync(command, 0o755);
  writeFileSync(join(folder, 'key'), env.SUPABASE_SERVICE_KEY!);
  for (const line of blocks.join('').trim().split('\n')) {
    const script = line.replaceAll('http://127.0.0.1:8787', daemonUrl);
    const ran = await run('bash', ['-euo', 'pipefail', '-c', script], {
      cwd: folder,
      env: { ...env, PATH: `${folder}:${process.env.PATH}` },
    });
    expect(ran.code, `${line}\n${ran.stdout}${ran.stderr}`).toBe(0);
  }
}

async function environment(): Promise<Record<string, string>> {
  return {
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL: inject('stack').SUPABASE_URL,
    SUPABASE_SERVICE_KEY: inject('stack').SUPABASE_SERVICE_KEY,
    SUPABASE_BUCKET: uniqueId('bucket'),
    FILE_STORAGE_PATH: await tempFolder(),
    CACHE_PATH: await tempFolder(),
  };
}

test('docs/migration.md', async () => {
  const env = await environment();
  // The document's project, and one of no owner.
  for (const projectId of ['shop', uniqueId()]) {
    const ref = { projectId, version: 1, generationId: uniqueId('g') };
    new PythonStore(env.FILE_STORAGE_PATH!).versioned(ref, { 'main.py': 'x' });
  }
  await runBlocks('migration.md', env);
});

test('docs/operations.md', async () => {
  const { storePath, daemon } = await startDaemon();
  await runBlocks(
    'operations.md',
    { ...(await environment()), FILE_STORAGE_PATH: storePath },
    daemon.url,
  );
});

test('every variable of the configuration is in .env.example', () => {
  const example = readFileSync(join(ROOT, '.env.example'), 'utf8');
  const config = readFileSync(join(ROOT, 'node-agent/config.ts'), 'utf8');
  const names = [...config.matchAll(/(?:env\.|['"])([A-Z]+(?:_[A-Z]+)+)\b/g)].map(
    ([, name]) => name!,
  );
  const variables = [...new Set(names)];
  expect(variables.length).toBeGreaterThan(15);
  expect(variables.filter((name) => !example.includes(name))).toEqual([]);
});

test('systemd takes the unit', async (context) => {
  const unit = join(ROOT, 'docs/examples/codebegen-storage.service');
  const ran = await run('systemd-analyze', ['verify', unit]).catch(() => null);
  if (ran === null) context.skip('there is no systemd here');
  expect(ran!.stderr + ran!.stdout).not.toMatch(/codebegen-storage\.service:\d+/);
});
