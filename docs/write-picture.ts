/**
 * `npm run picture`: takes `dashboard.png`, the picture in README, of the page as it is, with generations that are
 * made up. Needs Chromium.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '../node-agent/daemon/log.ts';
import { createMetrics } from '../node-agent/daemon/metrics.ts';
import { serve } from '../node-agent/daemon/serve.ts';
import { openStorage } from '../node-agent/index.ts';
import { launchBrowser } from '../tests/support/browser.ts';
import { makeRandom } from '../tests/support/random.ts';

const HOUR = 3_600_000;
const PROJECTS = ['shop-api', 'invoices', 'crm', 'blog'];
const SAVES = 220;

const folder = mkdtempSync(join(tmpdir(), 'codebegen-picture-'));
const random = makeRandom(7);
const pick = (number: number) => Math.floor(random() * number);
let clock = Date.now() - 29 * 24 * HOUR;
const storage = await openStorage({
  storePath: join(folder, 'store'),
  cloud: null,
  uploadConcurrency: 1,
  cache: { path: join(folder, 'cache'), ttlMs: HOUR, maxAgeMs: HOUR, maxBytes: 1e10 },
  cleanupEveryMs: null,
  now: () => clock,
});
try {
  for (let i = 0; i < SAVES; i++) {
    clock = Math.min(Date.now(), clock + (1 + pick(5)) * HOUR);
    const files = Object.fromEntries(
      Array.from({ length: 20 + pick(60) }, (_, file) => [
        `app/${['models', 'routes', 'services'][file % 3]}/part_${file}.py`,
        `"""Part ${file}."""\n`.repeat(1 + pick(40)),
      ]),
    );
    await storage.save({ projectId: PROJECTS[pick(PROJECTS.length)]!, files });
  }
  clock = Date.now();
  const config = {
    host: '127.0.0.1',
    port: 0,
    publicUrl: null,
    token: null,
    adminToken: null,
  } as const;
  const daemon = await serve({
    storage,
    config: { ...config, logLevel: 'error' },
    log: createLogger('error'),
    metrics: createMetrics(),
  });
  const browser = await launchBrowser();
  const page = await browser.newPage({ viewport: { width: 1200, height: 860 } });
  await page.goto(`${daemon.url}/#/activity`);
  await page.getByText('30 days').click();
  await page.getByText(`${SAVES} saves`).first().waitFor();
  await page.mouse.move(320, 300);
  await page.locator('.chart canvas').nth(2).waitFor();
  await page.screenshot({ path: new URL('./dashboard.png', import.meta.url).pathname });
  await browser.close();
  await daemon.close();
} finally {
  await storage.close({ drainMs: 0 });
  rmSync(folder, { recursive: true });
}
