/** Webhooks, as a receiver has them, and an operator. */
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { Catalog } from '../../node-agent/catalog/catalog.ts';
import { lookupPublic } from '../../node-agent/webhooks/address.ts';
import { startDaemon } from '../support/daemon.ts';
import { type Answer, idOf, startReceiver, typeOf, verify } from '../support/receiver.ts';
import { runCli } from '../support/run.ts';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

const DAY = 86_400_000;
const SAVED = ['generation.saved'];

/** A storage whose clock is the test's, and a receiver that it tells of what is saved. */
async function withReceiver(kinds: string[] | undefined = SAVED) {
  const receiver = await startReceiver();
  const clock = { now: Date.parse('2026-01-01T00:00:00Z') };
  const problems: string[] = [];
  const storePath = await tempFolder();
  const options = {
    storePath,
    now: () => clock.now,
    random: () => 1,
    timeouts: { requestMs: 300, transferMs: 1000, silenceMs: 1000 },
    onProblem: (error: unknown) => problems.push(String(error)),
  };
  const storage = await openTestStorage(options);
  const webhook = await storage.webhooks.add({
    url: receiver.url,
    allowPrivate: true,
    ...(kinds === undefined ? {} : { kinds }),
  });
  return {
    ...{ receiver, clock, storage, webhook, problems, storePath },
    save: (text: string) => storage.save({ projectId: 'p', files: { a: text } }),
    /** What is due by then is sent. */
    async pass(ms: number) {
      clock.now += ms;
      await storage.webhooks.drain(10_000);
    },
    how: () => storage.webhooks.list().find(({ id }) => id === webhook.id)!,
  };
}

test('through the command line and a daemon: what happens is sent, signed, and shown to nobody else', async () => {
  const receiver = await startReceiver();
  const { storePath, daemon } = await startDaemon();
  const env = { FILE_STORAGE_PATH: storePath };
  const args = ['webhooks', 'add', receiver.url, '--allow-private', '--json'];
  const events = ['--events', 'generation.saved,generation.settled,generation.deleted'];
  const added = JSON.parse((await runCli([...args, ...events], env)).stdout);
  expect(added).toMatchObject({ id: expect.any(String), secret: expect.stringMatching(/^whsec_/) });

  const tested = await runCli(['webhooks', 'test', added.id], env);
  expect([tested.code, tested.stdout]).toEqual([0, expect.stringContaining('took the test')]);
  const saved = await fetch(`${daemon.url}/v1/generations`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-request-id': 'asked-for' },
    body: JSON.stringify({ project_id: 'p', files: { 'a.txt': 'a' } }),
  });
  const { generation_id } = (await saved.json()) as { generation_id: string };
  await receiver.after(3);
  await fetch(`${daemon.url}/v1/projects/p/1`, { method: 'DELETE' });
  const [probe, ...told] = await receiver.after(4);

  expect(verify(probe!, added.secret)).toMatchObject({
    type: 'webhook.test',
    data: { webhook_id: added.id },
  });
  const messages = told.map((one) => verify(one, added.secret));
  expect(messages.map(({ type }) => type)).toEqual([
    'generation.saved',
    'generation.settled',
    'generation.deleted',
  ]);
  expect(messages[0]).toEqual({
    type: 'generation.saved',
    timestamp: expect.stringMatching(/^20.*Z$/),
    data: {
      ...{ event_id: expect.any(String), project_id: 'p', version: 1, generation_id },
      ...{ owner_id: null, request_id: 'asked-for', digest: expect.any(String) },
      ...{ files: 1, bytes: 1, replaced: false, ms: expect.any(Number) },
    },
  });
  expect(told.map(idOf)).toEqual(messages.map(({ data }) => `evt_${data.event_id}`));
  expect(() => verify(told[0]!, `whsec_${btoa('another'.repeat(4))}`)).toThrow();

  const listed = await runCli(['webhooks', 'list'], env);
  const log = Object.values(daemon.output()).join('');
  for (const text of [listed.stdout, listed.stderr, tested.stdout, log]) {
    expect(text).not.toContain(added.secret.slice(6));
    expect(text).not.toContain('of-the-receiver');
  }
  const [file = ''] = readdirSync(join(storePath, '.codebegen-storage/webhooks'));
  expect(statSync(join(storePath, '.codebegen-storage/webhooks', file)).mode & 0o777).toBe(0o600);

  expect((await runCli(['webhooks', 'remove', added.id], env)).code).toBe(0);
  expect(JSON.parse((await runCli(['webhooks', '--json'], env)).stdout)).toEqual({ items: [] });
});

describe('a receiver', () => {
  test('that answers 500 is sent the same once more, and nothing else meanwhile', async () => {
    const { receiver, save, pass, webhook, how, problems } = await withReceiver();
    receiver.answer = (answer) => answer.writeHead(500).end();
    await save('1');
    await pass(0);
    await save('2');
    await pass(0);
    expect(receiver.received).toHaveLength(1);
    expect(how()).toMatchObject({ owed: 2, parked: 0, failure: 'it answers 500' });
    receiver.answer = (answer) => answer.writeHead(204).end();
    await pass(3999);
    expect(receiver.received).toHaveLength(1);
    await pass(1);
    await pass(4000);
    const [first, ...others] = receiver.received;
    expect(others).toHaveLength(2);
    const again = others.find((one) => idOf(one) === idOf(first!));
    expect(again?.body).toBe(first!.body);
    expect(new Set(receiver.received.map(idOf)).size).toBe(2);
    for (const one of receiver.received) expect(typeOf(one)).toBe('generation.saved');
    expect(how()).toMatchObject({ owed: 0, parked: 0, since: null, failure: null });
    expect(problems).toEqual([expect.stringContaining(`webhook ${webhook.id} (http://127.0.0.1`)]);
    expect(problems[0]).not.toContain('token');
  });

  test('that is away for a day is told all, with few tries', async () => {
    const { receiver, save, pass, how } = await withReceiver();
    receiver.answer = (answer) => void answer.destroy();
    for (let i = 0; i < 30; i++) await save(`${i}`);
    for (let hour = 0; hour < 24; hour++) await pass(DAY / 24);
    expect(how()).toMatchObject({
      owed: 30,
      parked: 0,
      failure: expect.stringContaining('ECONNRESET'),
    });
    expect(how().since).toBe('2026-01-01T00:00:00.000Z');
    expect(receiver.received.length).toBeLessThan(40);
    receiver.received.length = 0;
    receiver.answer = (answer) => answer.writeHead(200).end('x');
    await pass(DAY / 24);
    expect(new Set(receiver.received.map(idOf)).size).toBe(30);
    expect(how()).toMatchObject({ owed: 0, parked: 0, failure: null });
  });

  test('that is away for three days has what is owed parked, until somebody retries', async () => {
    const { receiver, save, pass, how, storage } = await withReceiver();
    receiver.answer = (answer) => answer.writeHead(503).end();
    await save('old');
    // A clock that was set, or a long while off, is no reason to give up.
    await pass(4 * DAY);
    expect(how()).toMatchObject({ owed: 1, parked: 0 });
    for (let tries = 0; tries < 17; tries++) await pass(DAY / 24);
    await save('new');
    await pass(DAY / 24);
    expect(how()).toMatchObject({ owed: 2, parked: 0 });
    for (let tries = 0; tries < 4; tries++) await pass(DAY / 24);
    expect(how()).toMatchObject({ owed: 1, parked: 1, failure: 'it answers 503' });
    receiver.answer = (answer) => answer.writeHead(204).end();
    await pass(DAY / 24);
    expect(how()).toMatchObject({ owed: 0, parked: 1 });
    expect(await storage.webhooks.retry(null)).toBe(1);
    await pass(0);
    expect(how()).toMatchObject({ owed: 0, parked: 0, failure: null });
  });

  test('that does not take one message is told the others', async () => {
    const { receiver, save, pass, how } = await withReceiver();
    receiver.answer = (answer, { body }) =>
      answer.writeHead(body.includes('"version":1') ? 422 : 204).end();
    await save('1');
    await pass(0);
    await save('2');
    await save('3');
    await pass(0);
    expect(receiver.received).toHaveLength(3);
    expect(how()).toMatchObject({ owed: 1, parked: 0 });
  });

  test('that says that it is gone is told nothing more, until somebody retries', async () => {
    const { receiver, save, pass, how, storage, webhook } = await withReceiver();
    receiver.answer = (answer) => answer.writeHead(410).end();
    await save('1');
    await pass(0);
    await save('2');
    await pass(DAY);
    expect(receiver.received).toHaveLength(1);
    expect(how()).toMatchObject({ owed: 0, parked: 1, disabled: expect.stringContaining('gone') });
    receiver.answer = (answer) => answer.writeHead(204).end();
    expect(await storage.webhooks.retry(webhook.id)).toBe(1);
    await save('3');
    await pass(0);
    expect(receiver.received).toHaveLength(3);
    expect(how()).toMatchObject({ owed: 0, parked: 0, disabled: null });
  });

  test.each([301, 302, 307, 308])('that answers %i is not followed', async (status) => {
    const elsewhere = await startReceiver();
    const { receiver, save, pass, how } = await withReceiver();
    receiver.answer = (answer) => answer.writeHead(status, { location: elsewhere.url }).end();
    await save('1');
    await pass(0);
    expect(elsewhere.received).toEqual([]);
    expect(how().failure).toContain('leads elsewhere');
  });

  test.each<[string, Answer, RegExp | null]>([
    ['hangs', () => {}, /no answer within 0.3 s/],
    [
      'is slow to say anything',
      (answer) => void answer.writeProcessing(),
      /no answer within 0.3 s/,
    ],
    ['answers with no end', (answer) => void answer.writeHead(200).write('x'.repeat(1e6)), null],
  ])('that %s keeps nobody waiting', async (_, answer, failure) => {
    const { receiver, save, pass, how, storage } = await withReceiver();
    const other = await startReceiver();
    await storage.webhooks.add({ url: other.url, allowPrivate: true, kinds: SAVED });
    receiver.answer = answer;
    await save('1');
    await other.after(1);
    await pass(0);
    if (failure === null) expect(how()).toMatchObject({ owed: 0, failure: null });
    else expect(how()).toMatchObject({ owed: 1, failure: expect.stringMatching(failure) });
  });

  test('that asks to be left alone is, for an hour at most', async () => {
    const { receiver, save, pass } = await withReceiver();
    receiver.answer = (answer) => answer.writeHead(429, { 'retry-after': '1800' }).end();
    await save('1');
    await pass(0);
    await pass(1_799_999);
    expect(receiver.received).toHaveLength(1);
    receiver.answer = (answer) => answer.writeHead(429, { 'retry-after': '999999' }).end();
    await pass(1);
    expect(receiver.received).toHaveLength(2);
    await pass(3_600_000);
    expect(receiver.received).toHaveLength(3);
  });
});

describe('what is owed', () => {
  test('is sent by the next process where one was killed as it sent', async () => {
    const receiver = await startReceiver();
    receiver.answer = () => {};
    const storePath = await tempFolder();
    const { daemon } = await startDaemon({ FILE_STORAGE_PATH: storePath });
    const env = { FILE_STORAGE_PATH: storePath };
    const args = [
      'webhooks',
      'add',
      receiver.url,
      '--allow-private',
      '--events',
      'generation.saved',
    ];
    await runCli(args, env);
    await fetch(`${daemon.url}/v1/generations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ project_id: 'p', files: { a: 'x' } }),
    });
    await receiver.after(1);
    daemon.child.kill('SIGKILL');
    receiver.answer = (answer) => answer.writeHead(204).end();
    const storage = await openTestStorage({ storePath });
    const [first, again] = await receiver.after(2);
    expect([idOf(again!), again!.body]).toEqual([idOf(first!), first!.body]);
    await storage.webhooks.drain(10_000);
    expect(storage.webhooks.list()).toMatchObject([{ owed: 0, parked: 0 }]);
  });

  test('comes of other processes, too, that send it themselves before they end', async () => {
    const receiver = await startReceiver();
    const env = { FILE_STORAGE_PATH: await tempFolder() };
    await runCli(['webhooks', 'add', receiver.url, '--allow-private'], env);
    await runCli(
      ['save', new URL('../../docs/examples', import.meta.url).pathname, '--project', 'p'],
      env,
    );
    expect(receiver.received.map(typeOf)).toContain('generation.saved');
  });

  test('is gone with what was not committed', async () => {
    const { storePath, receiver, save, pass, how } = await withReceiver();
    const catalog = new Catalog(join(storePath, '.codebegen-storage/catalog.sqlite'));
    expect(() =>
      catalog.transaction(() => {
        catalog.deliveries.add({ webhook_id: how().id, event_id: 'e', body: '{}' }, 1);
        throw new Error('rolled back');
      }),
    ).toThrow('rolled back');
    catalog.close();
    await save('1');
    await pass(0);
    expect(receiver.received).toHaveLength(1);
  });

  test('is no more than can be kept, of each: the oldest go, and are counted', async () => {
    const { receiver, storage, storePath, save, pass, how } = await withReceiver();
    receiver.answer = (answer) => answer.writeHead(500).end();
    // Every other event is its.
    const other = await storage.webhooks.add({
      url: receiver.url,
      allowPrivate: true,
      kinds: SAVED,
    });
    const ids = [how().id, other.id];
    await save('1');
    await pass(0);
    const catalog = new Catalog(join(storePath, '.codebegen-storage/catalog.sqlite'));
    catalog.transaction(() => {
      for (let i = 0; i < 51_000; i++) {
        for (const id of ids) {
          catalog.deliveries.add({ webhook_id: id, event_id: `${i}`, body: '{}' }, 1);
        }
      }
    });
    for (let i = 0; i < 250; i++) await save(`more ${i}`);
    catalog.close();
    for (const { owed, dropped } of storage.webhooks.list()) {
      expect(owed).toBeLessThanOrEqual(50_500);
      expect(owed + dropped).toBe(51_251);
    }
  });

  test('that cannot be noted is no reason to try without end', async () => {
    const { receiver, storage, storePath, save, problems, clock } = await withReceiver();
    receiver.answer = (answer) => answer.writeHead(500).end();
    await save('1');
    await storage.webhooks.drain(10_000);
    const catalog = new DatabaseSync(join(storePath, '.codebegen-storage/catalog.sqlite'));
    catalog.exec(
      `create trigger full before update on deliveries begin select raise(fail, 'disk full'); end`,
    );
    clock.now += DAY;
    problems.length = 0;
    const begun = performance.now();
    await storage.webhooks.drain(100);
    while (performance.now() - begun < 500) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(problems.length).toBeLessThanOrEqual(2);
    catalog.exec('drop trigger full');
    catalog.close();
  });
});

test('webhooks are kept where the catalog is lost', async () => {
  const { storage, storePath, webhook, receiver } = await withReceiver();
  await storage.close();
  for (const end of ['', '-wal', '-shm']) {
    rmSync(join(storePath, `.codebegen-storage/catalog.sqlite${end}`), { force: true });
  }
  const again = await openTestStorage({ storePath });
  expect(again.webhooks.list().map(({ id }) => id)).toEqual([webhook.id]);
  await again.save({ projectId: 'p', files: { a: 'x' } });
  await again.webhooks.drain(10_000);
  expect(verify(receiver.received[0]!, webhook.secret).type).toBe('generation.saved');
});

describe('an address that is not public', () => {
  test.each([
    'https://127.0.0.1/',
    'https://0x7f.1/',
    'https://2130706433/',
    'https://localhost/',
    'https://a.localhost./',
    'https://10.1.2.3/',
    'https://172.31.0.1/',
    'https://192.168.1.1/',
    'https://169.254.169.254/latest/meta-data',
    'https://100.100.100.200/',
    'https://0.0.0.0/',
    'https://224.0.0.1/',
    'https://255.255.255.255/',
    'https://[::1]/',
    'https://[::]/',
    'https://[::ffff:10.0.0.1]/',
    'https://[::ffff:a9fe:a9fe]/',
    'https://[64:ff9b::a00:1]/',
    'https://[fd00::1]/',
    'https://[fe80::1]/',
    'https://[2002:a00:1::]/',
    'https://[2001:db8::1]/',
  ])('%s is refused', async (url) => {
    const storage = await openTestStorage();
    await expect(storage.webhooks.add({ url })).rejects.toThrow(/private address/);
  });

  test.each(['https://93.184.215.14/', 'https://[2606:4700::1111]/', 'https://example.com/'])(
    '%s is public',
    async (url) => {
      const storage = await openTestStorage();
      expect((await storage.webhooks.add({ url })).url).toBe(url);
    },
  );

  test('is refused after a name was looked up, too', async () => {
    for (const all of [true, false]) {
      const error = await new Promise((resolve) =>
        lookupPublic('localhost', { all }, (error) => resolve(error)),
      );
      expect(String(error)).toContain('a private address');
    }
  });

  test('is refused where a webhook was made to lead there later', async () => {
    const { storage, storePath, webhook, receiver, save, pass, how } = await withReceiver();
    const file = join(storePath, `.codebegen-storage/webhooks/${webhook.id}.json`);
    const kept = JSON.parse(readFileSync(file, 'utf8'));
    rmSync(file);
    writeFileSync(file, JSON.stringify({ ...kept, allowPrivate: false }));
    await save('1');
    await pass(0);
    expect(receiver.received).toEqual([]);
    expect(how().failure).toContain('private address');
    expect((await storage.webhooks.test(webhook.id)).failure).toContain('private address');
  });
});

test.each([
  ['no-url', /its URL must be one of https/],
  ['ftp://example.com/', /its URL must be one of https/],
  ['http://example.com/', /use https/],
  ['https://user:secret@example.com/', /a user or a password/],
  ['https://example.com/#part', /fragment/],
  [`https://example.com/${'x'.repeat(2048)}`, /at most 2048 characters/],
])('%s is refused, and says why', async (url, why) => {
  const storage = await openTestStorage();
  const refused = storage.webhooks.add({ url });
  await expect(refused).rejects.toThrow(why);
  await expect(refused).rejects.not.toThrow(/secret/);
});

test('a webhook whose secret somebody spoilt is none, and keeps no save from being one', async () => {
  const { storage, storePath, webhook, save } = await withReceiver();
  const file = join(storePath, `.codebegen-storage/webhooks/${webhook.id}.json`);
  const kept = JSON.parse(readFileSync(file, 'utf8'));
  rmSync(file);
  writeFileSync(file, JSON.stringify({ ...kept, secret: 'whsec_no' }));
  await save('1');
  expect([storage.webhooks.list(), storage.webhooks.unreadable()]).toEqual([[], [file]]);
});

test('what is wrong is named: an event, an id, one too many, a file that is none', async () => {
  const env = { FILE_STORAGE_PATH: await tempFolder() };
  const storage = await openTestStorage({ storePath: env.FILE_STORAGE_PATH });
  const url = 'https://example.com/';
  await expect(storage.webhooks.add({ url, kinds: ['generation.liked'] })).rejects.toThrow(
    /no event "generation.liked"; there are generation.saved/,
  );
  const { id } = await storage.webhooks.add({ url });
  await expect(storage.webhooks.remove('wh_000000000000')).rejects.toThrow(`there are ${id}`);
  await expect(storage.webhooks.remove('../catalog')).rejects.toThrow('Cannot find webhook');
  for (let i = 1; i < 20; i++) await storage.webhooks.add({ url });
  await expect(storage.webhooks.add({ url })).rejects.toThrow(/20, which is the limit/);
  await storage.webhooks.remove(id);
  writeFileSync(join(env.FILE_STORAGE_PATH, '.codebegen-storage/webhooks/mine.json'), '{}');
  const listed = await runCli(['webhooks'], env);
  expect(listed.stderr).toContain('mine.json" is no webhook');
  expect(listed.stdout.trim().split('\n')).toHaveLength(20);
  const wrong = await runCli(['webhooks', 'test', 'wh_1'], env);
  expect([wrong.code, wrong.stderr]).toEqual([4, expect.stringContaining('Cannot find webhook')]);
});
