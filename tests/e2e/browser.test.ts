/** The client in a real browser, in a web app of another origin than the stack. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serve } from '@hono/node-server';
import { serveStatic } from '@hono/node-server/serve-static';
import { createClient } from '@supabase/supabase-js';
import { Hono } from 'hono';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import { chromiumPath, launchBrowser } from '../support/browser.ts';
import { uniqueId } from '../support/cloud.ts';
import { saveToCloud } from '../support/generation.ts';
import { builtProgram, ROOT, run } from '../support/run.ts';
import { tempFolder } from '../support/temp.ts';

const PASSWORD = 'correct-horse-battery';

describe.skipIf(chromiumPath === undefined)('in Chromium', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(() => browser?.close());

  async function openPage(): Promise<{ page: Page; trouble: string[] }> {
    const origin = await serveWebApp();
    const context = await browser.newContext({ acceptDownloads: true });
    onTestFinished(() => context.close());
    const page = await context.newPage();
    const trouble: string[] = [];
    page.on('pageerror', (error) => trouble.push(String(error)));
    page.on('requestfailed', (request) => trouble.push(`${request.method()} ${request.url()}`));
    page.setDefaultTimeout(20_000);
    await page.goto(origin);
    return { page, trouble };
  }

  async function signIn(page: Page, email: string): Promise<string> {
    await page.fill('[name=email]', email);
    await page.fill('[name=password]', PASSWORD);
    await page.click('#sign-in button');
    await page.waitForFunction("document.getElementById('user').textContent !== ''");
    return (await page.textContent('#user'))!;
  }

  test('a user signs in, lists, opens a file, sees a diff, downloads the zip, and deletes', async () => {
    const { page, trouble } = await openPage();
    const email = await signUp();
    const ownerId = await signIn(page, email);
    const projectId = uniqueId();
    const save = (version: number, word: string) =>
      saveToCloud({
        projectId,
        version,
        ownerId,
        files: { 'app/Käse #1.py': `print("${word}")\n`, 'index.html': '<b>bold</b>' },
      });
    await save(1, 'one');
    await save(2, 'two');

    await page.fill('[name=project]', projectId);
    await page.click('#open button');
    await page.waitForSelector('#files li');
    expect(await page.locator('#versions li').allInnerTexts()).toEqual([
      'v2 verified',
      'v1 verified',
    ]);
    expect(await page.locator('#files li').allInnerTexts()).toEqual([
      'app/Käse #1.py',
      'index.html',
    ]);
    for (const [file, text] of [
      ['app/Käse #1.py', 'text/plain\nprint("two")\n'],
      ['index.html', 'text/plain\n<b>bold</b>'],
    ] as const) {
      await page.click(`#files li:text-is("${file}")`);
      await page.waitForFunction(
        (wanted) => document.getElementById('content')!.textContent!.endsWith(wanted),
        text.split('\n').slice(1).join('\n'),
      );
      expect(await page.textContent('#content')).toBe(text);
    }

    await page.click('#diff');
    await page.waitForFunction("document.getElementById('unified').textContent !== ''");
    expect(await page.textContent('#unified')).toContain('-print("one")\n+print("two")\n');

    await page.click('#zip');
    await page.waitForSelector('#link a');
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#link a')]);
    expect(download.suggestedFilename()).toBe(`${projectId}-v2.zip`);
    const file = join(await tempFolder(), 'a.zip');
    await download.saveAs(file);
    const tested = await run('unzip', ['-t', file]);
    expect(tested.code, tested.stdout).toBe(0);
    expect(tested.stdout).toContain('index.html');

    await page.click('#delete');
    await page.waitForFunction("document.getElementById('versions').textContent === 'deleted'");
    expect(await page.textContent('#error')).toBe('');
    // A download that a link begins is no page load that ended.
    expect(trouble.filter((line) => !line.includes('archive.zip'))).toEqual([]);
  });

  test('another user, and nobody, is told so by a code, across origins', async () => {
    const { page } = await openPage();
    const open = async () => {
      await page.fill('[name=project]', 'not-hers');
      await page.click('#open button');
      await page.waitForFunction("document.getElementById('error').textContent !== ''");
      return page.textContent('#error');
    };
    expect(await open()).toBe('unauthenticated');
    await signIn(page, await signUp());
    expect(await open()).toBe('not_found');
  });
});

/** Makes an account as the web app's sign-up page would. */
async function signUp(): Promise<string> {
  const stack = inject('stack');
  const email = `${uniqueId('user')}@example.com`;
  const { auth } = createClient(stack.SUPABASE_URL, stack.SUPABASE_PUBLISHABLE_KEY);
  const { error } = await auth.signUp({ email, password: PASSWORD });
  expect(error).toBeNull();
  return email;
}

/** Serves the web app with the client as it is published. Goes with the test. */
async function serveWebApp(): Promise<string> {
  const client = await readFile(builtProgram('functions/client/index'));
  const stack = inject('stack');
  const app = new Hono()
    .get('/settings.json', (c) =>
      c.json({ url: stack.SUPABASE_URL, key: stack.SUPABASE_PUBLISHABLE_KEY }),
    )
    .get('/client.js', (c) => c.body(client, 200, { 'content-type': 'text/javascript' }))
    .get('/node_modules/*', serveStatic({ root: ROOT }))
    .get('*', serveStatic({ root: join(ROOT, 'tests/e2e/web-app') }));
  return new Promise((resolve) => {
    const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) =>
      resolve(`http://127.0.0.1:${port}/`),
    );
    onTestFinished(() => void server.close());
  });
}
