/** The daemon under a filter of system calls, as the unit that is shipped has one. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { expect, onTestFinished, test } from 'vitest';
import { builtProgram, ROOT, run } from '../support/run.ts';
import { tempFolder } from '../support/temp.ts';

const SCRIPT = `${ROOT}/tests/support/seccomp.py`;
const SET_PRIORITY = 'require("node:os").setPriority(1); console.log("went on")';

test.skipIf(process.platform !== 'linux').each([
  ['answers with EPERM', 'errno'],
  ['kills the process', 'kill'],
])('a daemon whose filter %s saves, serves and ends', async (_, how) => {
  // The filter is one: without care it is met.
  const met = await run('python3', [SCRIPT, how, process.execPath, '-e', SET_PRIORITY]);
  expect(met.stdout).toBe('');
  expect(met.code).not.toBe(0);

  const command = [process.execPath, builtProgram('node-agent/bin'), 'start'];
  const child = spawn('python3', [SCRIPT, how, ...command], {
    env: {
      ...process.env,
      FILE_STORAGE_PATH: await tempFolder(),
      CACHE_PATH: await tempFolder(),
      AGENT_PORT: '0',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const url = line.replace('Listening on ', '');
  const saved = await fetch(`${url}/v1/generations`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ project_id: 'p', files: { a: 'x' } }),
  });
  expect(saved.status).toBe(201);
  const got = await fetch(`${url}/v1/projects/p/1/archive.zip`);
  expect(got.status).toBe(200);
  await got.arrayBuffer();
  child.kill('SIGTERM');
  const [code] = await once(child, 'close');
  expect(code).toBe(0);
});

test('the unit that is shipped has what is denied answered, and lets nobody else read', () => {
  const unit = readFileSync(`${ROOT}/docs/examples/codebegen-storage.service`, 'utf8');
  expect(unit).toMatch(/^SystemCallFilter=/m);
  expect(unit).toMatch(/^SystemCallErrorNumber=EPERM$/m);
  expect(unit).toMatch(/^UMask=0077$/m);
});
