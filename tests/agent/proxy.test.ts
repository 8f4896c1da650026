/** A network whose only way out is a proxy: every thread takes it, and nothing else does. */

import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { expect, inject, onTestFinished, test } from 'vitest';
import { uniqueId } from '../support/cloud.ts';
import { hostEnvironment } from '../support/host.ts';
import { ROOT, runCli } from '../support/run.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';

/** No name that is anybody's: only the proxy knows the way. */
const NOWHERE = 'http://project.invalid:8000';

/** Leads to the stack whatever is asked for. */
async function startProxy() {
  const stack = new URL(inject('stack').SUPABASE_URL);
  const asked: string[] = [];
  const server = createServer((from: IncomingMessage, to) => {
    asked.push(`${from.method} ${from.url}`);
    const { pathname, search } = new URL(from.url!);
    const on = request(
      {
        host: stack.hostname,
        port: stack.port,
        method: from.method!,
        path: pathname + search,
        headers: from.headers,
      },
      (answer) => {
        to.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(to);
      },
    );
    from.pipe(on);
  });
  server.on('connect', ({ url }, from) => {
    asked.push(`CONNECT ${url}`);
    const on = connect(Number(stack.port), stack.hostname, () => {
      from.write('HTTP/1.1 200 OK\r\n\r\n');
      from.pipe(on).pipe(from);
    });
    for (const socket of [from, on]) socket.on('error', () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

test.each(['the environment', 'a file of settings'])(
  'by %s: an upload in chunks, a download and doctor go by it',
  async (from) => {
    const proxy = await startProxy();
    const project = uniqueId();
    const settings = {
      ...(await hostEnvironment({ SUPABASE_URL: NOWHERE })),
      HTTP_PROXY: proxy.url,
    };
    const config = join(await tempFolder(), 'settings.env');
    const isFile = from === 'a file of settings';
    const write = (more: Record<string, string>) => {
      const lines = Object.entries({ ...settings, ...more }).map(
        ([name, value]) => `${name}=${value}`,
      );
      writeFileSync(config, lines.join('\n'));
    };
    const cli = (args: string[], more: Record<string, string> = {}) => {
      if (!isFile) return runCli(args, { ...settings, ...more });
      write(more);
      return runCli(['--config', config, ...args], {});
    };
    const source = await tempFolder();
    // Larger than one request, which a thread of its own sends.
    await writeFiles(source, { 'big.bin': randomBytes(7 * 1024 ** 2) });
    const saved = await cli(['save', source, '--project', project, '--json']);
    expect([saved.code, saved.stderr]).toEqual([0, '']);
    expect((await cli(['show', project, '1'])).stdout).toContain('verified');
    const elsewhere = { FILE_STORAGE_PATH: settings.FILE_STORAGE_PATH };
    expect((await cli(['cleanup', '--store', '--older-than', '0h'], elsewhere)).stdout).toContain(
      '1 originals',
    );
    const to = join(await tempFolder(), 'out');
    expect((await cli(['get', project, '1', '--to', to])).code).toBe(0);
    const doctor = JSON.parse((await cli(['doctor', '--json'])).stdout);
    expect(doctor.checks).toContainEqual(
      expect.objectContaining({
        name: 'proxy',
        why: expect.stringContaining(new URL(proxy.url).host),
      }),
    );
    expect(doctor.checks.find(({ name }: { name: string }) => name === 'project').status).toBe(
      'pass',
    );
    expect(proxy.asked.length).toBeGreaterThan(3);
  },
);

test('what is on this host is asked for directly; NO_PROXY is obeyed; a proxy that is none is named', async () => {
  const proxy = await startProxy();
  const env = { ...(await hostEnvironment()), HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url };
  const project = uniqueId();
  await runCli(['save', `${ROOT}/docs/examples`, '--project', project], env);
  expect((await runCli(['show', project, '1'], env)).stdout).toContain('verified');
  expect(proxy.asked).toEqual([]);
  const away = { ...env, SUPABASE_URL: NOWHERE, no_proxy: 'project.invalid' };
  expect((await runCli(['doctor'], away)).stdout).toContain('out of reach');
  expect(proxy.asked).toEqual([]);
  const wrong = await runCli(['status'], { ...env, HTTPS_PROXY: 'socks5://user:secret@x' });
  expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('HTTPS_PROXY')]);
  expect(wrong.stderr).not.toContain('secret');
});
