/** A form is taken exactly as it was sent, or not at all: as many parts, so many files. */
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { readForm } from '../../node-agent/daemon/multipart.ts';
import { startDaemon } from '../support/daemon.ts';
import { run } from '../support/run.ts';
import { listTree, readTree } from '../support/tree.ts';

const BOUNDARY = 'the-boundary';
const TYPE = `multipart/form-data; boundary=${BOUNDARY}`;

/** A form of parts as they are on the wire: the headers, and the content. */
function form(...parts: [headers: string, content: string | Buffer][]): Buffer {
  const pieces = parts.flatMap(([headers, content]) => [
    Buffer.from(`--${BOUNDARY}\r\n${headers}\r\n\r\n`),
    Buffer.from(content),
    Buffer.from('\r\n'),
  ]);
  return Buffer.concat([...pieces, Buffer.from(`--${BOUNDARY}--\r\n`)]);
}

const field = (name: string, value: string): [string, string] => [
  `Content-Disposition: form-data; name="${name}"`,
  value,
];
const file = (path: string, content: string | Buffer = 'x'): [string, string | Buffer] => [
  `Content-Disposition: form-data; name="f"; filename="${path}"`,
  content,
];
const PROJECT = field('project_id', 'p');

async function post(url: string, body: Buffer, type = TYPE) {
  const answer = await fetch(`${url}/v1/generations`, {
    method: 'POST',
    headers: { 'content-type': type },
    body: new Uint8Array(body),
    signal: AbortSignal.timeout(30_000),
  });
  return { status: answer.status, json: (await answer.json()) as Record<string, unknown> };
}

describe('with the daemon', () => {
  test('every byte of every part is saved, wherever the pieces are cut', async () => {
    const { daemon } = await startDaemon();
    const contents = {
      'app/main.py': 'print(1)\n',
      empty: '',
      'like a boundary': `\r\n--${BOUNDARY.slice(0, -1)}x\r\n--`,
      'large.bin': randomBytes(300_000),
      'grüße.txt': 'ü',
    };
    const parts = Object.entries(contents).map(([path, content]) => file(path, content));
    const { status, json } = await post(daemon.url, form(PROJECT, field('tree', 'now'), ...parts));
    expect([status, json.file_count]).toEqual([201, parts.length]);
    const tree = readTree(`${json.path}/source`);
    for (const [path, content] of Object.entries(contents)) {
      expect(tree[path]?.equals(Buffer.from(content)), path).toBe(true);
    }
  });

  const refused: [string, Buffer, string][] = [
    [
      'a field that is there twice',
      form(PROJECT, field('project_id', 'q'), file('a')),
      'project_id',
    ],
    ['a field that nobody knows', form(PROJECT, field('projct', 'q'), file('a')), 'projct'],
    ['a field after a file', form(PROJECT, file('a'), field('version', '1')), 'version'],
    ['a name with a quote', form(PROJECT, file('a"b')), 'ambiguous'],
    ['a name with %22', form(PROJECT, file('a%22b')), '%22'],
    ['a name with %0a', form(PROJECT, file('a%0ab')), '%0a'],
    ['a name with an escaped quote', form(PROJECT, file('a\\"b')), 'ambiguous'],
    ['a name with a bare line feed', form(PROJECT, file('a\nb')), 'cannot be read'],
    ['a name with a bare carriage return', form(PROJECT, file('a\rb')), 'cannot be read'],
    [
      'a name that is not UTF-8',
      Buffer.from(
        form(PROJECT, file('a\u00ffb')).toString('latin1').replace('\u00c3\u00bf', '\u00ff'),
        'latin1',
      ),
      'not UTF-8',
    ],
    ['a name that leads out', form(PROJECT, file('../a')), '../a'],
    ['a file without a name', form(PROJECT, file('')), 'empty'],
    ['a name twice', form(PROJECT, file('a'), file('a', 'y')), 'twice'],
    [
      'an attachment',
      form(PROJECT, ['Content-Disposition: attachment; name="f"; filename="a"', 'x']),
      'attachment',
    ],
    ['a part without a disposition', form(PROJECT, ['Content-Type: text/plain', 'x']), 'part 2'],
    ['a part without headers', form(PROJECT, ['', 'x']), 'part 2'],
    [
      'a part without a name',
      form(PROJECT, ['Content-Disposition: form-data; filename="a"', 'x']),
      'no name',
    ],
    [
      'a part in base64',
      form(PROJECT, [`${file('a')[0]}\r\nContent-Transfer-Encoding: base64`, 'eA==']),
      'base64',
    ],
    [
      'a part that is gzipped',
      form(PROJECT, [`${file('a')[0]}\r\nContent-Encoding: gzip`, 'x']),
      'gzip',
    ],
    [
      'a header that cannot be read, and one after it',
      form(PROJECT, [`${file('a')[0]}\r\nX\nY: z\r\nContent-Transfer-Encoding: base64`, 'eA==']),
      'cannot be read',
    ],
    [
      'a header that is folded',
      form(PROJECT, [`${file('a')[0]};\r\n filename="b"`, 'x']),
      'cannot be read',
    ],
    ['a disposition twice', form(PROJECT, [`${file('a')[0]}\r\n${file('b')[0]}`, 'x']), 'twice'],
    ['two names of one file', form(PROJECT, [`${file('a')[0]}; filename="b"`, 'x']), 'twice'],
    [
      'two names of one file, in two ways',
      form(PROJECT, [`${file('a')[0]}; filename*=UTF-8''b`, 'x']),
      'ambiguous',
    ],
    [
      'headers without an end',
      Buffer.from(`--${BOUNDARY}\r\n${'X: y\r\n'.repeat(10_000)}`),
      'too long',
    ],
    [
      'a field in UTF-16',
      form(
        PROJECT,
        [
          `Content-Disposition: form-data; name="version"\r\nContent-Type: text/plain; charset=utf-16`,
          '1',
        ],
        file('a'),
      ),
      'utf-16',
    ],
    [
      'a part after the end',
      Buffer.concat([form(PROJECT, file('a')), form(file('b'))]),
      'follows its end',
    ],
    [
      'a content that looks like the end',
      form(PROJECT, file('a', `1\r\n--${BOUNDARY}--tail`), file('b')),
      'follows its end',
    ],
    [
      'a field that an object is born with',
      form(PROJECT, field('__proto__', 'x'), file('a')),
      '__proto__',
    ],
    [
      'a field that came as a file',
      form(
        PROJECT,
        ['Content-Disposition: form-data; name="metadata"; filename="blob"', '{}'],
        file('a'),
      ),
      'metadata',
    ],
    [
      'a form in a form',
      form(PROJECT, [`${file('a')[0]}\r\nContent-Type: multipart/mixed; boundary=x`, '--x--']),
      'multipart/mixed',
    ],
    [
      'a parameter that nobody knows',
      form(PROJECT, [`${file('a')[0]}; name*=UTF-8''b`, 'x']),
      'name*',
    ],
    ['a form that is cut', form(PROJECT, file('a')).subarray(0, -20), 'cut off'],
    ['no boundary', Buffer.from('nothing'), 'cut off'],
    ['no file', form(PROJECT), 'holds no files'],
  ];
  test('what cannot be taken exactly is refused by name, and nothing is saved', async () => {
    const { daemon, storePath } = await startDaemon();
    for (const [what, body, named] of refused) {
      const { status, json } = await post(daemon.url, body);
      expect([status, json.detail], what).toEqual([400, expect.stringContaining(named)]);
    }
    expect(listTree(storePath).filter((name) => /^p$|staging\/[^/]+\/./.test(name))).toEqual([]);
  });

  test('a name that is said in the other way is taken', async () => {
    const { daemon } = await startDaemon();
    const said = `Content-Disposition: form-data; name="f"; filename*=UTF-8''gr%C3%BC%22e.txt`;
    const { status, json } = await post(
      daemon.url,
      form(PROJECT, field('tree', 'now'), [said, 'x']),
    );
    expect(status).toBe(201);
    expect(Object.keys(readTree(`${json.path}/source`))).toEqual(['grü"e.txt']);
  });

  test('a query that names a project twice is refused, and so is JSON', async () => {
    const { daemon } = await startDaemon();
    const send = (query: string, type: string, body: string) =>
      fetch(`${daemon.url}/v1/generations${query}`, {
        method: 'POST',
        headers: { 'content-type': type },
        body,
      });
    const query = await send('?project_id=p&project_id=q', 'application/x-tar', '');
    expect([query.status, await query.text()]).toEqual([
      400,
      expect.stringContaining('project_id'),
    ]);
    for (const body of [
      '{"project_id":"p","project_id":"q","files":{"a":"x"}}',
      '{"project_id":"p","files":{"a":"x","\\u0061":"y"}}',
      '{"project_id":"p","metadata":{"k":{"a":1,"a":2}},"files":{"a":"x"}}',
    ]) {
      const json = await send('', 'application/json', body);
      expect([json.status, await json.text()]).toEqual([400, expect.stringContaining('twice')]);
    }
    for (const [body, named] of [
      ['{"project_id":"p","files":{"a":{"content":"x","mod":493}}}', 'mod'],
      ['{"project_id":"p","files":{"a":{"content":"MR==","encoding":"base64"}}}', 'base64'],
      ['{"project_id":"p","metadata":{"n":1e400},"files":{"a":"x"}}', 'number'],
    ] as const) {
      const json = await send('', 'application/json', body);
      expect([json.status, await json.text()]).toEqual([400, expect.stringContaining(named)]);
    }
    const zipped = await fetch(`${daemon.url}/v1/generations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      body: '{"project_id":"p","files":{"a":"x"}}',
    });
    expect([zipped.status, await zipped.text()]).toEqual([400, expect.stringContaining('gzip')]);
  });
});

test.each([1500, 20_000])(
  'a form of %i files is saved with a bounded number of open files',
  async (count) => {
    const { daemon } = await startDaemonWithLimit(1024);
    const parts = Array.from({ length: count }, (_, i) => file(`d${i % 50}/f${i}`, `${i}`));
    const { status, json } = await post(daemon.url, form(PROJECT, ...parts));
    expect([status, json.file_count], JSON.stringify(json)).toEqual([201, count]);
  },
);

/** A daemon that may have so many files open, and no more. */
async function startDaemonWithLimit(files: number) {
  const { daemon, storePath } = await startDaemon();
  const limited = await run('prlimit', [`--nofile=${files}:${files}`, `--pid=${daemon.child.pid}`]);
  expect(limited.code, limited.stderr).toBe(0);
  return { daemon, storePath };
}

test('a form is the same wherever its bytes are cut', async () => {
  const whole = form(
    PROJECT,
    file('a', 'one\r\n--the-'),
    file('b', ''),
    file('c', 'x'.repeat(100)),
  );
  const read = async (size: number) => {
    const pieces = async function* () {
      for (let at = 0; at < whole.length; at += size) yield whole.subarray(at, at + size);
    };
    const found: [string | null, string][] = [];
    for await (const { path, body } of readForm(TYPE, pieces())) {
      const content: Buffer[] = [];
      for await (const piece of body) content.push(Buffer.from(piece));
      found.push([path, Buffer.concat(content).toString()]);
    }
    return found;
  };
  const expected = await read(whole.length);
  expect(expected.map(([path]) => path)).toEqual([null, 'a', 'b', 'c']);
  for (let size = 1; size < whole.length; size++) expect(await read(size)).toEqual(expected);
});
