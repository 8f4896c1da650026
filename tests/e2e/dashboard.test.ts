/** The page of the daemon, in a real browser. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { gzipSync } from 'node:zlib';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test, vi } from 'vitest';
import { createClient } from '../../functions/client/index.ts';
import { bundle } from '../../node-agent/bundle.ts';
import { chromiumPath, launchBrowser, trace } from '../support/browser.ts';
import { makeUser, serviceClient, uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { putGeneration } from '../support/generation.ts';
import { askWith } from '../support/host-key.ts';
import { startReceiver, typeOf, verify } from '../support/receiver.ts';
import { runCli } from '../support/run.ts';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const TOKEN = 'a-token-of-the-daemon-for-its-page';
const ADMIN = 'a-token-of-who-looks-after-hosts';
/** How many versions are gone through: ten thousand by `PAGE_VERSIONS=10000`. */
const VERSIONS = Number(process.env.PAGE_VERSIONS ?? 2000);
/** Of the processor, for one task of the page: what is longer is a stall. These machines are slow. */
const STALL_MS = 500;
const FIRST_PAINT_MS = 5000;

test('what the browser loads has at most 100 kB, gzipped', async () => {
  const built = await bundle();
  const page = built.filter(({ fileName }) => fileName.includes('/dashboard/'));
  expect(page).toHaveLength(3);
  const sizes = page.map(({ code }) => gzipSync(code).length);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(100_000);
});

test('it comes without a token, and lets nothing from elsewhere in', async () => {
  const { daemon } = await startDaemon({ AGENT_TOKEN: TOKEN });
  const answer = await fetch(`${daemon.url}/`);
  expect([answer.status, answer.headers.get('content-type')]).toEqual([
    200,
    'text/html; charset=utf-8',
  ]);
  const policy = answer.headers.get('content-security-policy')!;
  expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
  expect(policy).not.toContain('unsafe');
  expect(policy).toContain("frame-ancestors 'none'");
  const etag = answer.headers.get('etag')!;
  const known = await fetch(`${daemon.url}/`, { headers: { 'if-none-match': etag } });
  expect(known.status).toBe(304);
  expect((await fetch(`${daemon.url}/dashboard/app.js`)).status).toBe(200);
  for (const path of ['/dashboard/', '/dashboard/../v1/status', '/v1/status', '/v1/activity']) {
    expect((await fetch(`${daemon.url}${path}`)).status, path).toBe(401);
  }
  expect((await fetch(`${daemon.url}/`, { method: 'POST' })).status).toBe(404);
});

describe.skipIf(chromiumPath === undefined)('in Chromium', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(() => browser?.close());

  /** A page of a daemon. Whatever it asks of others, or complains of, is in `trouble`. */
  async function open(url: string, options: BrowserContextOptions = {}) {
    const context = await browser.newContext({ acceptDownloads: true, ...options });
    onTestFinished(() => context.close());
    const page = await context.newPage();
    const trouble: string[] = [];
    page.on('pageerror', (error) => trouble.push(String(error)));
    page.on('console', (message) => {
      // That a token is asked for is no trouble.
      if (message.type() === 'error' && !message.text().includes('401'))
        trouble.push(message.text());
    });
    page.on('request', (request) => {
      const isOwn =
        request.url().startsWith(new URL(url).origin) || request.url().startsWith('data:');
      if (!isOwn) trouble.push(request.url());
    });
    page.setDefaultTimeout(20_000);
    await page.goto(url);
    return { page, trouble };
  }

  /** What has the focus, as a screen reader says it. */
  const focused = (page: Page) =>
    page.evaluate(`(() => {
      const { ariaLabel, labels, innerText } = document.activeElement;
      return (ariaLabel ?? labels?.[0]?.innerText ?? innerText ?? '').split('\\n')[0].trim();
    })()`);
  const MOST_STEPS = 80;

  /** Goes on by Tab until something has the focus. */
  async function reach(page: Page, name: string): Promise<void> {
    for (let i = 0; i < MOST_STEPS; i++) {
      if ((await focused(page)) === name) return;
      await page.keyboard.press('Tab');
    }
    throw new Error(`"${name}" cannot be reached by the keyboard`);
  }

  async function follow(page: Page, name: string): Promise<void> {
    await reach(page, name);
    await page.keyboard.press('Enter');
  }

  const save = async (url: string, project: string, files: object, more: object = {}) => {
    const answer = await fetch(`${url}/v1/generations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ project_id: project, files, ...more }),
    });
    expect(answer.status).toBe(201);
    return (await answer.json()) as { version: number };
  };

  test('what is saved appears by itself, and after the daemon was away, too', async () => {
    const { storePath, daemon } = await startDaemon();
    const { page, trouble } = await open(daemon.url);
    await page.getByRole('heading', { name: 'Ready' }).waitFor();
    await page.getByText('live', { exact: true }).waitFor();
    await save(daemon.url, 'shop', { 'a.txt': 'a' });
    await page.getByRole('link', { name: 'shop v1' }).first().waitFor();
    await page.getByRole('heading', { name: 'All is safe' }).waitFor();

    const { port } = new URL(daemon.url);
    daemon.child.kill('SIGKILL');
    await page.getByText('not connected', { exact: true }).waitFor();
    await page.getByRole('heading', { name: 'Not connected to the daemon' }).waitFor();
    expect(trouble.splice(0).filter((text) => !/ERR_|Failed to load/.test(text))).toEqual([]);
    await startDaemon({ FILE_STORAGE_PATH: storePath, AGENT_PORT: port });
    await page.getByText('live', { exact: true }).waitFor();
    await save(daemon.url, 'shop', { 'a.txt': 'b' });
    await page.getByRole('link', { name: 'shop v2' }).first().waitFor();
  });

  test('versions, a tree, a file in colours, two side by side, download, activate, delete', async () => {
    const { daemon } = await startDaemon();
    const source = 'def hello():\n    return "one"\n';
    await save(daemon.url, 'shop', {
      'app/Käse #1.py': source,
      'README.md': '# Shop\n',
      '<img src=x onerror=alert(1)>.html': '<script>document.title = "hacked"</script>',
    });
    await save(daemon.url, 'shop', { 'app/Käse #1.py': source.replace('one', 'two'), new: 'n' });
    const { page, trouble } = await open(daemon.url);
    await page.getByRole('link', { name: 'Projects' }).click();
    await page.getByRole('link', { name: 'shop' }).click();
    await page.getByLabel('Compare v1').check();
    await page.getByLabel('Compare v2').check();
    await page.getByRole('link', { name: 'Compare v1 with v2' }).click();
    await page.getByText('1 file changed, 1 added, 2 removed, 0 the same.').waitFor();
    await page.getByRole('link', { name: 'Käse' }).click();
    await page.locator('td.removed', { hasText: 'return "one"' }).waitFor();
    await page.locator('td.added', { hasText: 'return "two"' }).waitFor();

    await page.getByRole('link', { name: 'shop', exact: true }).click();
    await page.getByRole('link', { name: 'v1', exact: true }).click();
    await page.getByRole('link', { name: 'Käse' }).click();
    await page.locator('.code .hljs-keyword', { hasText: 'def' }).waitFor();
    expect(await page.locator('.code pre').last().textContent()).toContain('return "one"');
    await page.getByRole('link', { name: 'onerror' }).click();
    await page.locator('.code', { hasText: 'hacked' }).waitFor();
    expect(await page.title()).toBe('codebegen-storage');

    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download' }).click(),
    ]);
    expect(download.suggestedFilename()).toMatch(/^shop-v1.*\.tar\.gz$/);
    await page.getByRole('button', { name: 'Activate' }).click();
    await page.locator('h1 .badge', { hasText: 'active' }).waitFor();
    await page.getByRole('link', { name: 'shop', exact: true }).click();
    await page.locator('.timeline .active', { hasText: 'v1' }).waitFor();
    await page.getByRole('link', { name: 'v2', exact: true }).click();
    page.once('dialog', (dialog) => void dialog.dismiss());
    await page.getByRole('button', { name: 'Delete' }).click();
    expect((await fetch(`${daemon.url}/v1/projects/shop/2`)).status).toBe(200);
    page.once('dialog', (dialog) => void dialog.accept());
    await page.getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('heading', { name: 'shop', exact: true }).waitFor();
    await page.getByRole('link', { name: 'v1', exact: true }).waitFor();
    expect(await page.getByRole('link', { name: 'v2', exact: true }).count()).toBe(0);
    expect((await fetch(`${daemon.url}/v1/projects/shop/2`)).status).toBe(404);
    await page.getByRole('button', { name: 'Undelete v2' }).click();
    await page.getByRole('link', { name: 'v2', exact: true }).waitFor();
    expect((await fetch(`${daemon.url}/v1/projects/shop/2`)).status).toBe(200);
    expect(await page.getByRole('button', { name: 'Undelete v2' }).count()).toBe(0);
    expect(trouble).toEqual([]);
  });

  test('where there is a token it is asked for, and a wrong one is said to be', async () => {
    const { daemon } = await startDaemon({ AGENT_TOKEN: TOKEN });
    const { page, trouble } = await open(daemon.url);
    await page.getByLabel('Token').fill('wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('did not take that token').waitFor();
    await page.getByLabel('Token').fill(TOKEN);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Ready' }).waitFor();
    await page.getByText('live', { exact: true }).waitFor();
    expect(page.url()).not.toContain(TOKEN);
    expect(trouble).toEqual([]);
  });

  test('what is parked is shown with its reason, and goes when it is tried again', async () => {
    const stack = inject('stack');
    const { daemon } = await startDaemon({
      USE_CLOUD_STORAGE: 'true',
      SUPABASE_URL: stack.SUPABASE_URL,
      SUPABASE_SERVICE_KEY: stack.SUPABASE_SERVICE_KEY,
      SUPABASE_BUCKET: 'codebegen-projects',
    });
    const project = uniqueId();
    // Another host has its version.
    await putGeneration({ projectId: project, version: 1, ownerId: null });
    await save(daemon.url, project, { a: 'mine' }, { version: 1, generation_id: 'mine' });
    const { page } = await open(daemon.url);
    await page.getByRole('heading', { name: '1 upload parked' }).waitFor();
    await page.getByRole('cell', { name: /the version is held by generation/ }).waitFor();
    expect(await page.title()).toContain('1 upload parked');
    for (const table of ['storage_archives', 'storage_manifests', 'storage_generations']) {
      const gone = await serviceClient().from(table).delete().eq('project_id', project);
      expect(gone.error).toBeNull();
    }
    await follow(page, 'Try all again');
    await page.getByRole('heading', { name: 'All is safe', exact: true }).waitFor();
    await page.getByText('verified').first().waitFor();
  });

  test('page, web page and receiver see each step of a generation, in order, within a second', async () => {
    const stack = inject('stack');
    const proxy = await startFaultProxy(stack.SUPABASE_URL);
    const receiver = await startReceiver();
    const { storePath, daemon } = await startDaemon({
      USE_CLOUD_STORAGE: 'true',
      SUPABASE_URL: proxy.url,
      SUPABASE_SERVICE_KEY: stack.SUPABASE_SERVICE_KEY,
      SUPABASE_BUCKET: uniqueId('bucket'),
    });
    const args = ['webhooks', 'add', receiver.url, '--allow-private', '--json'];
    const { secret } = JSON.parse((await runCli(args, { FILE_STORAGE_PATH: storePath })).stdout);
    const { page } = await open(daemon.url);
    await page.getByText('live', { exact: true }).waitFor();
    // As a web page of this origin listens, and when it hears of what.
    await page.evaluate(`void (async () => {
      window.heard = [];
      const { body } = await fetch('/v1/events');
      for await (const text of body.pipeThrough(new TextDecoderStream())) {
        for (const [, data] of text.matchAll(/^data: ({"kind".*)$/gm)) {
          const { kind, at } = JSON.parse(data);
          window.heard.push([kind.split('.')[1], Date.now() - Date.parse(at)]);
        }
      }
    })().catch(() => {})`);
    // When the feed of the page shows what.
    await page.evaluate(`(() => {
      window.shown = [];
      const seen = new Set();
      new MutationObserver(() => {
        for (const li of [...document.querySelectorAll('.feed li')].reverse()) {
          const { dateTime } = li.querySelector('time');
          const kind = li.querySelector('.badge').textContent;
          if (seen.has(kind + dateTime)) continue;
          seen.add(kind + dateTime);
          window.shown.push([kind, Date.now() - Date.parse(dateTime)]);
        }
      }).observe(document.querySelector('main'), { childList: true, subtree: true });
    })()`);
    const delays: number[] = [];
    const came = receiver.answer;
    receiver.answer = (answer, one) => {
      delays.push(Date.now() - Date.parse(verify(one, secret).timestamp));
      came(answer, one);
    };

    proxy.rule = (method, path) =>
      method === 'POST' && path.startsWith('/storage/v1/object/')
        ? { kind: 'answer', status: 400, body: { statusCode: '413' } }
        : null;
    const project = uniqueId();
    await save(daemon.url, project, { a: 'x' });
    await page.getByRole('heading', { name: '1 upload parked' }).waitFor();
    proxy.rule = () => null;
    await page.getByRole('button', { name: 'Try all again' }).click();
    await page.locator('.feed .badge.verified').waitFor();
    await fetch(`${daemon.url}/v1/projects/${project}/1`, { method: 'DELETE' });
    await page.locator('.feed .badge.deleted').waitFor();
    const steps = ['saved', 'settled', 'failed', 'uploaded', 'verified', 'deleted'];
    const received = await receiver.after(steps.length);
    expect(received.map((one) => typeOf(one).split('.')[1])).toEqual(steps);
    for (const name of ['heard', 'shown']) {
      const told = (await page.evaluate(`window.${name}`)) as [string, number][];
      expect(told.map(([kind]) => kind)).toEqual(steps);
      delays.push(...told.map(([, delay]) => delay));
    }
    expect(delays).toHaveLength(3 * steps.length);
    // On quiet cores it is within a second.
    expect(Math.max(...delays)).toBeLessThan(3000);
  });

  test('where the secret key is, hosts are given keys, and lose them', async () => {
    const stack = inject('stack');
    const { daemon } = await startDaemon({
      AGENT_TOKEN: TOKEN,
      AGENT_ADMIN_TOKEN: ADMIN,
      USE_CLOUD_STORAGE: 'true',
      SUPABASE_URL: stack.SUPABASE_URL,
      SUPABASE_SERVICE_KEY: stack.SUPABASE_SERVICE_KEY,
      SUPABASE_BUCKET: 'codebegen-projects',
    });
    const { page, trouble } = await open(daemon.url, { bypassCSP: true });
    page.on('dialog', (dialog) =>
      dialog.accept(
        dialog.type() === 'confirm'
          ? undefined
          : dialog.message().startsWith('Days')
            ? ''
            : 'shop, mill',
      ),
    );
    // That of generators opens all but hosts.
    for (const token of [TOKEN, ADMIN]) {
      await page.getByLabel('Token').fill(token);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByRole('link', { name: 'Hosts' }).click();
    }
    const name = uniqueId('host');
    const row = page.getByRole('row', { name });
    const shownKey = page.locator('code', { hasText: /^cbh_/ });
    await page.getByLabel('Name').fill(name);
    await page.getByLabel('Days until its key ends').fill('90d');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByText('"90d" is no number of days').waitFor();
    await page.getByLabel('Days until its key ends').fill('90');
    await page.getByLabel('It may delete its own').check();
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    const first = (await shownKey.textContent())!;
    expect((await askWith(first)('/check', {})).status).toBe(200);
    await row.getByText(/^ends /).waitFor();
    await page.addScriptTag({ path: AXE });
    const { violations } = (await page.evaluate(`axe.run()`)) as { violations: unknown[] };
    expect(violations).toEqual([]);
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: 800 });
      const whole = await page.evaluate('document.documentElement.scrollWidth');
      expect(whole).toBeLessThanOrEqual(width);
    }

    await row.getByRole('button', { name: 'New key' }).click();
    await page.waitForFunction(`!document.body.innerText.includes(${JSON.stringify(first)})`);
    const second = (await shownKey.textContent())!;
    expect((await askWith(second)('/check', {})).status).toBe(200);
    await row.getByRole('button', { name: 'Assign projects' }).click();
    await row.getByRole('cell', { name: '2', exact: true }).waitFor();
    await page.getByRole('button', { name: 'Done' }).click();
    expect(await page.content()).not.toContain(second);
    await row.getByRole('button', { name: 'Revoke' }).click();
    await row.getByText(/^revoked /).waitFor();
    expect((await askWith(second)('/check', {})).status).toBe(401);
    expect(trouble).toEqual([]);
    // What is refused says why.
    await page.getByLabel('Name').fill('../no');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByText('as the name of a host').waitFor();
  });

  test('where the secret key is, links that users made are seen and ended', async () => {
    const stack = inject('stack');
    const cloud = {
      USE_CLOUD_STORAGE: 'true',
      SUPABASE_URL: stack.SUPABASE_URL,
      SUPABASE_SERVICE_KEY: stack.SUPABASE_SERVICE_KEY,
      SUPABASE_BUCKET: 'codebegen-projects',
    };
    const { daemon } = await startDaemon(cloud);
    const owner = await makeUser();
    const project = uniqueId();
    await save(daemon.url, project, { a: 'x' }, { owner_id: owner.id });
    const client = createClient(stack.SUPABASE_URL, async () => owner.token);
    await vi.waitUntil(async () => {
      const { items } = await client.listGenerations(project).catch(() => ({ items: [] }));
      return items[0]?.status === 'verified';
    });
    const made = await client.downloadGeneration(project, 1, { revocable: true });
    const other = await client.downloadGeneration(project, 1, { revocable: true });
    const follow = async ({ url }: { url: string }) =>
      (await fetch(url, { redirect: 'manual' })).status;
    expect(await follow(made)).toBe(302);

    const { page, trouble } = await open(`${daemon.url}/#/projects/${project}/1`, {
      bypassCSP: true,
    });
    page.on('dialog', (dialog) => dialog.accept());
    await page.getByText('2 links to it can be followed').waitFor();
    const row = page.getByRole('row', { name: made.link!.slice(0, 8) });
    await row.getByRole('cell', { name: '1', exact: true }).waitFor();
    // Whoever looks over one's shoulder cannot follow it.
    expect(await page.content()).not.toContain(made.link!);
    await page.addScriptTag({ path: AXE });
    const { violations } = (await page.evaluate(`axe.run()`)) as { violations: unknown[] };
    expect(violations).toEqual([]);
    await row.getByRole('button', { name: 'End' }).click();
    await page.getByText('1 link to it can be followed').waitFor();
    expect([await follow(made), await follow(other)]).toEqual([404, 302]);
    expect(trouble).toEqual([]);
  });

  test('where it is not, no page of hosts is offered', async () => {
    const { daemon } = await startDaemon();
    const { page } = await open(daemon.url);
    await page.getByRole('heading', { name: 'Ready' }).waitFor();
    expect(await page.getByRole('link', { name: 'Hosts' }).count()).toBe(0);
  });

  test('what it does is drawn over an hour, a day, and 30 days, and is there as a table', async () => {
    const { daemon } = await startDaemon();
    await save(daemon.url, 'shop', { a: 'x'.repeat(1234) });
    const { page, trouble } = await open(`${daemon.url}/#/activity`);
    for (const range of ['Day', '30 days', 'Hour']) {
      await page.getByText(range, { exact: true }).click();
      await page.getByText('1 save, 0 deletions').first().waitFor();
      await page.locator('.chart canvas').nth(2).waitFor();
      // Nothing was uploaded.
      expect(await page.locator('.chart .empty').count()).toBe(1);
    }
    await page.getByText('As a table').nth(2).click();
    await page.getByRole('cell', { name: '1.2 kB' }).waitFor();
    await save(daemon.url, 'shop', { a: 'y' });
    await page.getByText('2 saves, 0 deletions').first().waitFor();
    expect(trouble).toEqual([]);
  });

  describe('for everybody', () => {
    const VIEWS = ['', '#/activity', '#/projects', '#/projects/shop', '#/projects/shop/1/a.py'];
    const LAST = '#/projects/shop/compare/1/2/a.py';

    test.each([
      ['light', 1280],
      ['dark', 1280],
      ['light', 360],
    ] as const)(
      '%s, %i wide: no barrier that a checker finds, nothing is cut off',
      async (colorScheme, width) => {
        const { daemon } = await startDaemon();
        await save(
          daemon.url,
          'shop',
          { 'a.py': 'import os\n', 'b/c.py': 'x' },
          { metadata: { a: 1 } },
        );
        await save(daemon.url, 'shop', { 'a.py': `import sys # ${'long '.repeat(60)}\n` });
        const { page, trouble } = await open(daemon.url, {
          colorScheme,
          viewport: { width, height: 800 },
          // Its checker is put in from outside.
          bypassCSP: true,
        });
        await page.addScriptTag({ path: AXE });
        for (const view of [...VIEWS, LAST]) {
          await page.evaluate(`location.hash = ${JSON.stringify(view)}`);
          await page.locator('h1').first().waitFor();
          await page.waitForFunction(`document.querySelector('.loading') === null`);
          const { violations } = (await page.evaluate(`axe.run()`)) as {
            violations: { id: string; nodes: { html: string }[] }[];
          };
          const found = violations.map(({ id, nodes }) => [view, id, nodes[0]?.html]);
          expect(found).toEqual([]);
          expect(
            await page.evaluate('document.documentElement.scrollWidth'),
            view,
          ).toBeLessThanOrEqual(width);
        }
        expect(trouble).toEqual([]);
      },
    );

    test('each action is done by the keyboard alone', async () => {
      const { daemon } = await startDaemon({ AGENT_TOKEN: TOKEN });
      const headers = { authorization: `Bearer ${TOKEN}` };
      for (const word of ['os', 'sys']) {
        const body = JSON.stringify({ project_id: 'shop', files: { 'a.py': `import ${word}\n` } });
        const init = {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/json' },
        };
        expect((await fetch(`${daemon.url}/v1/generations`, { ...init, body })).status).toBe(201);
      }
      const { page } = await open(daemon.url);
      await page.getByLabel('Token').waitFor();
      await reach(page, 'Token');
      await page.keyboard.type(TOKEN);
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { name: 'All is safe' }).waitFor();

      await page.keyboard.press('Tab');
      expect(await focused(page)).toBe('To the content');
      await page.keyboard.press('Enter');
      expect(await page.evaluate('document.activeElement.id')).toBe('main');

      await follow(page, 'Activity');
      await page.getByText('2 saves').first().waitFor();
      await reach(page, 'Day');
      await page.keyboard.press('ArrowRight');
      expect(await focused(page)).toBe('30 days');
      await follow(page, 'As a table');
      await page.getByRole('columnheader', { name: 'saves' }).waitFor();

      await follow(page, 'Projects');
      await page.getByRole('link', { name: 'shop' }).waitFor();
      await reach(page, 'Project id');
      await page.keyboard.type('shop');
      await page.keyboard.press('Enter');
      await page.getByRole('link', { name: 'v1' }).waitFor();
      for (const version of ['v1', 'v2']) {
        await reach(page, `Compare ${version}`);
        await page.keyboard.press('Space');
      }
      await follow(page, 'Compare v1 with v2');
      await page.getByRole('link', { name: 'a.py' }).waitFor();
      await follow(page, 'a.py');
      await page.locator('td.added', { hasText: 'import sys' }).waitFor();

      await follow(page, 'shop');
      await page.getByRole('link', { name: 'v2' }).waitFor();
      await reach(page, 'Version');
      await page.keyboard.type('1');
      await page.keyboard.press('Enter');
      await page.getByRole('link', { name: 'a.py' }).waitFor();
      await follow(page, 'a.py');
      await page.locator('.code', { hasText: 'import os' }).waitFor();
      const download = page.waitForEvent('download');
      await follow(page, 'Download');
      await download;
      await follow(page, 'Activate');
      await page.locator('h1 .badge', { hasText: 'active' }).waitFor();
      page.once('dialog', (dialog) => void dialog.accept());
      await follow(page, 'Delete');
      await page.getByRole('link', { name: 'v2' }).waitFor();
      expect((await fetch(`${daemon.url}/v1/projects/shop/1`, { headers })).status).toBe(404);
    });
  });

  describe('much of it', () => {
    test(`${VERSIONS} versions are gone through without a stall`, async () => {
      const { storePath, daemon } = await startDaemon();
      await save(daemon.url, 'shop', { a: 'x' });
      const catalog = new DatabaseSync(join(storePath, '.codebegen-storage/catalog.sqlite'));
      const columns = catalog
        .prepare(`select name from pragma_table_info('generations')`)
        .all()
        .map(({ name }) => String(name));
      const copied = columns.map((name) =>
        name === 'version' ? 'n' : name === 'generation_id' ? `'g' || n` : name,
      );
      catalog.exec(`
        with recursive numbers (n) as (select 2 union all select n + 1 from numbers where n < ${VERSIONS})
        insert into generations (${columns.join()}) select ${copied.join()} from generations, numbers
        where project_id = 'shop' and version = 1`);
      catalog.close();
      const { page } = await open(`${daemon.url}/#/projects/shop`);
      await page.getByRole('link', { name: `v${VERSIONS}`, exact: true }).waitFor();
      const [paint] = (await page.evaluate(
        `performance.getEntriesByName('first-contentful-paint').map(({ startTime }) => startTime)`,
      )) as [number];
      // On quiet cores it is there within a second.
      expect(paint).toBeLessThan(FIRST_PAINT_MS);
      const traced = await trace(page);
      for (let shown = 400; shown <= VERSIONS; shown += 200) {
        await page.evaluate('scrollTo(0, document.documentElement.scrollHeight)');
        await page
          .locator('.timeline li')
          .nth(shown - 1)
          .waitFor({ state: 'attached' });
      }
      expect(await page.locator('.timeline li').count()).toBe(VERSIONS);
      await page.getByLabel('Compare v1', { exact: true }).check();
      await page.getByText('Choose two').waitFor();
      expect(await traced.longestTask()).toBeLessThan(STALL_MS);
    });

    test.each([
      [
        'many lines',
        Array.from({ length: 100_000 }, (_, i) => `line ${i} ${'x'.repeat(38)}`).join('\n'),
        '100000',
      ],
      ['one line', 'y'.repeat(5_000_000), '1'],
    ])('a file of 5 MB is shown without a stall: %s', async (_, text, last) => {
      const { daemon } = await startDaemon();
      expect(text.length).toBeGreaterThan(4_900_000);
      await save(daemon.url, 'shop', { 'large.js': text, 'small.js': 'x' });
      const { page } = await open(`${daemon.url}/#/projects/shop/1/small.js`);
      await page.locator('.code').waitFor();
      const traced = await trace(page);
      await page.getByRole('link', { name: 'large.js' }).click();
      await page.locator('.code.long').waitFor();
      const shown = await page.locator('.code.long code').last().textContent();
      // A long line goes on in the next row.
      const end = text.includes('\n') ? shown! : shown!.replaceAll('\n', '');
      expect([end.length > 1000, text.endsWith(end)]).toEqual([true, true]);
      const numbers = (await page.locator('.code.long .numbers').allTextContents())
        .join('\n')
        .trim();
      expect(numbers.split('\n').at(-1)).toBe(last);
      await page.evaluate(`document.querySelector('.code').scrollTo(0, 1e9)`);
      await page.evaluate(
        'new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))',
      );
      expect(await traced.longestTask()).toBeLessThan(STALL_MS);
    });
  });
});
