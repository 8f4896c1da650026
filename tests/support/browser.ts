import { existsSync } from 'node:fs';
import { type Browser, chromium, type Page } from 'playwright-core';

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

const TASKS = 'disabled-by-default-devtools.timeline';

/** An entry of Chromium's trace: `tdur` is the time of the processor, in microseconds. */
interface TraceEvent {
  name: string;
  tid: number;
  tdur?: number;
  args: { name?: string };
}

/** Watches the tasks of `page`. The longest is in milliseconds of the processor: what runs beside the page does not count. */
export async function trace(page: Page): Promise<{ longestTask(): Promise<number> }> {
  const browser = page.context().browser()!;
  await browser.startTracing(page, { categories: [TASKS] });
  return {
    async longestTask() {
      const trace = JSON.parse(String(await browser.stopTracing()));
      const events: TraceEvent[] = trace.traceEvents;
      const mains = new Set(
        events
          .filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain')
          .map(({ tid }) => tid),
      );
      const tasks = events.filter(({ name, tid }) => name === 'RunTask' && mains.has(tid));
      if (tasks.length === 0) throw new Error('The trace has no task of a page');
      return Math.max(...tasks.map(({ tdur = 0 }) => tdur)) / 1000;
    },
  };
}
