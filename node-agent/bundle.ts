/**
 * `npm run build`: writes the agent and the client as they are published, a few files in place of
 * hundreds. A command starts in half the time: most of it is to find and load modules.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

const require = createRequire(import.meta.url);
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** What the daemon shows at its address. */
const PAGE = 'node-agent/dashboard';

/** In one file: a page may import it as it is. */
const CLIENT = { 'functions/client/index': here('../functions/client/index.ts') };
/** What is imported or run by its name: by users, and as threads by what stands beside it. */
const ENTRIES: Readonly<Record<string, string>> = {
  'node-agent/bin': 'bin.ts',
  'node-agent/index': 'index.ts',
  'node-agent/checkpoint-worker': 'catalog/checkpoint-worker.ts',
  'node-agent/json-worker': 'save/json-worker.ts',
  'node-agent/transfer-worker': 'cloud/transfer-worker.ts',
  'node-agent/worker': 'store/worker.ts',
};

/** A file of what is built, and its text. */
export type Built = Readonly<{
  /** Where it goes, inside the folder of all of it. */
  fileName: string;
  code: string;
}>;

/**
 * Packages stay imports.
 *
 * @param more source files by the names of what is made of them, which share all modules
 */
export async function bundle(more: Readonly<Record<string, string>> = {}): Promise<Built[]> {
  const own = Object.entries(ENTRIES).map(([name, path]) => [name, here(path)]);
  const agent = { ...Object.fromEntries(own), ...more };
  return [...(await buildFiles(agent)), ...(await buildFiles(CLIENT)), ...(await buildPage())];
}

/** Packages go in: a browser has none. */
async function buildPage(): Promise<Built[]> {
  const { output } = await build({
    input: here('dashboard/main.tsx'),
    platform: 'browser',
    output: { minify: true, codeSplitting: false, comments: false },
    write: false,
    logLevel: 'warn',
  });
  const [script] = output;
  const styles = ['uplot/dist/uPlot.min.css', './dashboard/style.css'].map((path) =>
    readFileSync(path.startsWith('.') ? here(path) : require.resolve(path), 'utf8'),
  );
  return [
    { fileName: `${PAGE}/app.js`, code: script.code },
    { fileName: `${PAGE}/app.css`, code: styles.join('\n') },
    {
      fileName: `${PAGE}/index.html`,
      code: readFileSync(here('dashboard/index.html'), 'utf8'),
    },
  ];
}

async function buildFiles(input: Record<string, string>): Promise<Built[]> {
  const { output } = await build({
    input,
    platform: 'node',
    // What is no path is a package.
    external: /^[^./]/,
    // Threads are found beside the file that starts them.
    output: { chunkFileNames: 'node-agent/[name]-[hash].js', comments: false },
    write: false,
    logLevel: 'warn',
  });
  return output.flatMap((file) => (file.type === 'chunk' ? [file] : []));
}

/** @param folder inside this project: packages are found from there */
export function writeBundle(folder: string, built: readonly Built[]): void {
  for (const { fileName, code } of built) {
    mkdirSync(dirname(join(folder, fileName)), { recursive: true });
    writeFileSync(join(folder, fileName), code);
  }
}

if (import.meta.main) writeBundle(here('../dist'), await bundle());
