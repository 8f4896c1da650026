/** Limits come first: what a body would cost is found out before it is paid. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { readArchive } from '../../functions/_shared/read-archive.ts';
import { streamOf } from '../../functions/_shared/stream.ts';
import { startDaemon } from '../support/daemon.ts';
import { makeTar } from '../support/tar.ts';
import { listTree } from '../support/tree.ts';

const MB = 1024 * 1024;
/** As the issue has them. */
const SOON_MS = 2000;
const MEMORY = 200 * MB;
/** To parse such a body takes ten times as long; this machine may have others to serve. */
const PROBE_MS = 250;

type Daemon = Awaited<ReturnType<typeof startDaemon>>['daemon'];

/** Sends a body, and gives the answer, also where the rest of the body is not wanted. */
async function post(url: string, body: Buffer, type: string) {
  const began = performance.now();
  const sent = request(url, {
    method: 'POST',
    headers: { 'content-type': type, 'content-length': body.length },
  });
  // The connection is cut where nobody wants the rest.
  sent.on('error', () => {});
  sent.end(body);
  const [answer] = await once(sent, 'response', { signal: AbortSignal.timeout(60_000) });
  const pieces: Buffer[] = [];
  for await (const piece of answer) pieces.push(piece);
  const ms = performance.now() - began;
  return { status: answer.statusCode, text: Buffer.concat(pieces).toString(), ms };
}

/** The most memory that a process had, so far. Bytes. */
function peakOf({ child }: Daemon): number {
  const [, kilobytes] =
    /VmHWM:\s*(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

/** Asks whether it is well, again and again; gives the longest waits, the worst two of many apart. */
async function probe({ url }: Daemon, until: Promise<unknown>): Promise<number> {
  let isOver = false;
  void until.finally(() => {
    isOver = true;
  });
  const waits: number[] = [0];
  while (!isOver) {
    const asked = performance.now();
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    waits.push(performance.now() - asked);
    await sleep(10);
  }
  return waits.sort((a, b) => a - b).at(-3) ?? 0;
}

const many = (piece: (i: number) => string, bytes: number) => {
  const pieces: string[] = [];
  for (let i = 0, size = 0; size < bytes; i++) {
    const next = piece(i);
    pieces.push(next);
    size += next.length;
  }
  return pieces.join('');
};

const BODIES: [string, () => Buffer][] = [
  [
    'files without number',
    () => Buffer.from(`{"project_id":"p","files":{${many((i) => `"${i}":"",`, 63 * MB)}"z":""}}`),
  ],
  [
    'values without number in the metadata',
    () =>
      Buffer.from(
        `{"project_id":"p","metadata":{"a":[${'0,'.repeat(31 * MB)}0]},"files":{"a":""}}`,
      ),
  ],
  [
    'arrays inside each other',
    () => Buffer.from(`{"project_id":"p","metadata":{"a":${'['.repeat(60 * MB)}`),
  ],
  ['objects inside each other', () => Buffer.from(`{"a":`.repeat(12 * MB))],
  [
    'more bytes than it may have',
    () => Buffer.from(`{"project_id":"p","files":{"a":"${'x'.repeat(70 * MB)}"}}`),
  ],
];

/** What a probe may wait: more where this machine has others wait while nothing is asked of the daemon. */
async function mostWait(daemon: Daemon): Promise<number> {
  return Math.max(PROBE_MS, 5 * (await probe(daemon, sleep(500))));
}

describe('JSON with', () => {
  test.each(BODIES)('%s is too large, four at once too, and nobody waits', async (_, make) => {
    const { daemon, storePath } = await startDaemon();
    await post(`${daemon.url}/v1/generations`, Buffer.from('{}'), 'application/json');
    const idle = peakOf(daemon);
    const most = await mostWait(daemon);
    const body = make();
    const all = Promise.all(
      Array.from({ length: 4 }, () =>
        post(`${daemon.url}/v1/generations`, body, 'application/json'),
      ),
    );
    const longest = await probe(daemon, all);
    for (const { status, text, ms } of await all) {
      expect([status, text]).toEqual([413, expect.stringContaining('too_large')]);
      expect(ms).toBeLessThan(4 * SOON_MS);
    }
    expect(longest).toBeLessThan(most);
    expect(peakOf(daemon) - idle).toBeLessThan(MEMORY);
    expect(listTree(storePath).filter((name) => /^p$|staging\/[^/]+\/./.test(name))).toEqual([]);
  });

  test('much metadata, or too many files, is told with the limit', async () => {
    const { daemon } = await startDaemon();
    const files = Object.fromEntries(Array.from({ length: 20_001 }, (_, i) => [`f${i}`, '']));
    for (const [body, limit] of [
      [{ project_id: 'p', files }, '20000'],
      [{ project_id: 'p', metadata: { a: 'x'.repeat(2 * MB) }, files: { a: '' } }, '1048576'],
    ] as const) {
      const bytes = Buffer.from(JSON.stringify(body));
      const { status, text } = await post(
        `${daemon.url}/v1/generations`,
        bytes,
        'application/json',
      );
      expect([status, text]).toEqual([413, expect.stringContaining(limit)]);
    }
  });

  test('as much as it may have is saved', async () => {
    const { daemon } = await startDaemon();
    const text = 'é'.repeat(10 * MB);
    const body = {
      project_id: 'p',
      tree: 'now',
      files: { large: text, small: { content: 'eA==', encoding: 'base64' } },
    };
    const most = await mostWait(daemon);
    const saving = post(
      `${daemon.url}/v1/generations`,
      Buffer.from(JSON.stringify(body)),
      'application/json',
    );
    expect(await probe(daemon, saving)).toBeLessThan(most);
    const { status, text: answer } = await saving;
    expect(status, answer).toBe(201);
    const { path } = JSON.parse(answer);
    expect(readFileSync(`${path}/source/large`, 'utf8') === text).toBe(true);
    expect(readFileSync(`${path}/source/small`, 'utf8')).toBe('x');
  });
});

describe('a tar of folders without number', () => {
  const COUNT = 300_000;
  const folders = () => {
    const [one] = [makeTar([{ name: 'folder/', type: '5' }]).subarray(0, 512)];
    return Buffer.concat([...Array<Buffer>(COUNT).fill(one!), Buffer.alloc(1024)]);
  };

  test('is too large for the daemon', async () => {
    const { daemon } = await startDaemon();
    const url = `${daemon.url}/v1/generations?project_id=p`;
    const posted = post(url, gzipSync(folders()), 'application/gzip');
    expect(await probe(daemon, posted)).toBeLessThan(PROBE_MS);
    const { status, text, ms } = await posted;
    expect([status, text]).toEqual([413, expect.stringContaining('40000')]);
    expect(ms).toBeLessThan(SOON_MS);
  });

  test('is too large at the edge', async () => {
    const gzip = gzipSync(folders());
    const stream = streamOf(
      (async function* () {
        yield new Uint8Array(gzip);
      })(),
    );
    const began = performance.now();
    const reading = async () => {
      for await (const _ of readArchive(stream, { bytes: 1e9, files: 5000 }));
    };
    await expect(reading()).rejects.toMatchObject({ code: 'too_large' });
    expect(performance.now() - began).toBeLessThan(SOON_MS);
  });

  test('whose files lie in folders without number is too large', async () => {
    const { daemon } = await startDaemon();
    const files = Object.fromEntries(
      Array.from({ length: 500 }, (_, i) => [`${`${i}/`.repeat(200)}f`, '']),
    );
    const body = Buffer.from(JSON.stringify({ project_id: 'p', files }));
    const { status, text } = await post(`${daemon.url}/v1/generations`, body, 'application/json');
    expect([status, text]).toEqual([413, expect.stringContaining('40000')]);
  });
});
