import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const FLAGS = ['--no-sandbox', '--disable-quic', '--disable-background-networking'];

/** The browser of this machine; `undefined` where it has none, and none is asked for. */
export const chromiumPath = [process.env.CHROMIUM_PATH ?? '', ...PATHS].find((path) =>
  existsSync(path),
);

if (process.env.REQUIRE_BROWSER && chromiumPath === undefined) {
  throw new Error('Cannot test in a browser: there is no Chromium at CHROMIUM_PATH or /usr/bin');
}
if (chromiumPath === undefined) console.warn('Skipped: there is no Chromium here');

export function launchBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: chromiumPath!, args: FLAGS });
}
