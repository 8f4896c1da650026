/** The bytes of archives on their way: what ends a transfer is told as what it was, and leaves no connection. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test, vi } from 'vitest';
import { receive, send } from '../../node-agent/cloud/transfer-worker.ts';
import { tempFolder } from '../support/temp.ts';

const run = promisify(execFile);
const WORKER = new URL('../../node-agent/cloud/transfer-worker.ts', import.meta.url).href;
const BYTES = 8 * 1024 * 1024;

/** @returns its URL, and how many connections it has */
async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const server = createServer(answer);
  let connections = 0;
  server.on('connection', (socket) => {
    connections++;
    socket.on('close', () => connections--);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, connections: () => connections };
}

async function fileOf(bytes: number): Promise<string> {
  const file = join(await tempFolder(), 'archive');
  await writeFile(file, Buffer.alloc(bytes, 7));
  return file;
}

const put = (url: string, file: string, bytes = BYTES, timeoutMs = 10_000) =>
  send({ url, method: 'PUT', headers: {}, file, offset: 0, bytes, timeoutMs });
const get = (url: string, file: string | null, silenceMs = 10_000) =>
  receive({ url, headers: {}, file, silenceMs });

test('whoever answers before all is sent is heard, and is sent no more', async () => {
  const { url, connections } = await serve((_, response) =>
    response.writeHead(413).end('too large'),
  );
  expect(await put(url, await fileOf(BYTES))).toMatchObject({
    value: { status: 413, text: 'too large' },
  });
  await vi.waitUntil(() => connections() === 0);
});

test('a server that takes nothing is not waited for longer than was said', async () => {
  const { url } = await serve(() => {});
  expect(await put(url, await fileOf(BYTES), BYTES, 100)).toHaveProperty('failure');
});

test('a server that falls silent in the midst of a body is not waited for', async () => {
  const { url } = await serve((_, response) =>
    response.writeHead(200, { 'content-length': BYTES }).write('x'),
  );
  expect(await get(url, null, 100)).toHaveProperty('failure');
});

test.each(['sent', 'received'])('of what is %s the network has no system call', async (way) => {
  const { url } = await serve((request, response) => {
    if (way === 'sent') request.once('data', () => request.socket.destroy());
    else {
      response.writeHead(200, { 'content-length': BYTES });
      response.write('x', () => request.socket.destroy());
    }
  });
  const done = await (way === 'sent' ? put(url, await fileOf(BYTES)) : get(url, null));
  expect(done).toHaveProperty('failure.code', 'ECONNRESET');
  expect(done).not.toHaveProperty('failure.syscall');
});

test('a file that is not there, and one that is too short, are the disk', async () => {
  const { url, connections } = await serve((request, response) => {
    request.resume().on('end', () => response.end());
  });
  const file = await fileOf(10);
  expect(await put(url, `${file}-not`)).toMatchObject({
    failure: { code: 'ENOENT', syscall: 'open' },
  });
  expect(await put(url, file, 11)).toMatchObject({
    failure: { message: expect.stringContaining('ends before it should'), syscall: 'read' },
  });
  await vi.waitUntil(() => connections() === 0);
});

test('a way that leads nowhere keeps no file open', async () => {
  const refuses = createServer().on('connect', (_, socket) =>
    socket.end('HTTP/1.1 502 no\r\n\r\n'),
  );
  await new Promise<void>((resolve) => refuses.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void refuses.close());
  const { port } = refuses.address() as AddressInfo;
  const file = await fileOf(BYTES);
  const program = `
    import { setGlobalProxyFromEnv } from 'node:http';
    import { readdirSync, readlinkSync } from 'node:fs';
    setGlobalProxyFromEnv({ HTTPS_PROXY: 'http://127.0.0.1:${port}' });
    const { send } = await import(${JSON.stringify(WORKER)});
    const file = ${JSON.stringify(file)};
    const part = { file, offset: 0, bytes: ${BYTES}, timeoutMs: 10_000 };
    const done = await send({ url: 'https://nowhere.invalid/', method: 'PUT', headers: {}, ...part });
    const isOpen = (fd) => { try { return readlinkSync('/proc/self/fd/' + fd) === file } catch { return false } };
    const warnings = [];
    process.on('warning', ({ code }) => warnings.push(code));
    while (readdirSync('/proc/self/fd').some(isOpen)) {
      // One that is forgotten is closed by the collector, which warns of it.
      gc();
      await new Promise(setImmediate);
    }
    await new Promise(setImmediate);
    console.log(JSON.stringify([Object.keys(done), warnings]));`;
  const { stdout } = await run(process.execPath, [
    '--expose-gc',
    '--input-type=module',
    '-e',
    program,
  ]);
  expect(JSON.parse(stdout)).toEqual([['failure'], []]);
});

test('where the disk does not take what comes, the connection ends', async () => {
  const { url, connections } = await serve((_, response) => {
    response.writeHead(200, { 'content-length': BYTES }).write('x');
  });
  // A file is there.
  expect(await get(url, await fileOf(1))).toMatchObject({
    failure: { code: 'EEXIST', syscall: 'open' },
  });
  await vi.waitUntil(() => connections() === 0);
});
