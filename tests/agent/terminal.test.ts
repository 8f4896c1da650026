/** What the commands look like on a terminal: script(1) gives them one, and an emulator shows it. */
import { styleText } from 'node:util';
import xterm from '@xterm/headless';
import { describe, expect, test } from 'vitest';
import { formatProgress } from '../../node-agent/cli/progress.ts';
import { uniqueId } from '../support/cloud.ts';
import { hostEnvironment } from '../support/host.ts';
import { PythonStore } from '../support/python-store.ts';
import { builtProgram, run } from '../support/run.ts';

const BAR = /\[[#-]{24}\]/;

/**
 * What a person's shell has. Node takes colour from more of the environment than NO_COLOR (CI,
 * FORCE_COLOR, TEAMCITY_VERSION): nothing of what the tests were started with may come through.
 */
const SHELL = {
  ...Object.fromEntries(Object.keys(process.env).map((name) => [name, undefined])),
  PATH: process.env.PATH,
  HOME: process.env.HOME,
  TERM: 'xterm-256color',
};

/** Runs a command on a terminal, and gives what it sent there. */
async function onTerminal(
  args: string,
  env: Record<string, string>,
  columns = 100,
): Promise<{ code: number | null; sent: string }> {
  const command = `stty cols ${columns} && exec ${process.execPath} ${builtProgram('node-agent/bin')} ${args}`;
  const ran = await run('script', ['-qec', command, '/dev/null'], { env: { ...SHELL, ...env } });
  return { code: ran.code, sent: ran.stdout };
}

/** The screens that somebody would see: one for each time that something was written over. */
async function screensOf(sent: string, columns = 100): Promise<string[][]> {
  const terminal = new xterm.Terminal({ cols: columns, rows: 30, allowProposedApi: true });
  const screens: string[][] = [];
  for (const piece of sent.split(/(?=\r\u001b)/)) {
    await new Promise<void>((resolve) => terminal.write(piece, resolve));
    const lines = Array.from({ length: 30 }, (_, y) =>
      terminal.buffer.active.getLine(y)!.translateToString(true),
    );
    screens.push(lines.filter((line) => line !== ''));
  }
  return screens;
}

describe('progress', () => {
  test.each([100, 40])('is one bar that leaves nothing behind, on %i columns', async (columns) => {
    const env = await hostEnvironment();
    const old = new PythonStore(env.FILE_STORAGE_PATH);
    for (let version = 1; version <= 5; version++) {
      const ref = { projectId: uniqueId(), version, generationId: 'g' };
      old.versioned(ref, { 'main.py': `print(${version})\n` });
    }
    const { code, sent } = await onTerminal('migrate --verify', env, columns);
    expect(code, sent).toBe(0);
    const screens = await screensOf(sent, columns);
    const bars = screens.map((lines) =>
      lines.filter((line) => /^(read|upload|verify) +\[/.test(line)),
    );
    expect(Math.max(...bars.map((lines) => lines.length))).toBe(1);
    const seen = bars.flat();
    for (const stage of ['read', 'upload', 'verify']) {
      expect(
        seen.some((line) => line.startsWith(stage) && BAR.test(line)),
        stage,
      ).toBe(true);
    }
    if (columns === 100) expect(seen.join('\n')).toMatch(/ 100 % {2}5\/5 {2}\d+\.\d\/s/);
    expect(screens.at(-1)!.map((line) => line.split(/ +/)[0])).toEqual([
      'found',
      'migrated',
      'known',
      'verified',
      'failed',
    ]);

    const quiet = await onTerminal('migrate --no-progress', env, columns);
    expect(quiet.sent).not.toMatch(BAR);
    const json = await onTerminal('migrate --json', env, columns);
    expect(JSON.parse(json.sent)).toMatchObject({ found: 5, known: 5 });
  });

  test.each([
    [0, 10, 1000, 'upload  [------------------------]   0 %  0/10  0.0/s'],
    [5, 10, 2000, 'upload  [############------------]  50 %  5/10  2.5/s  2 s left'],
    [1, 10_000, 1000, 'upload  [------------------------]   0 %  1/10000  1.0/s  2 h 46 min left'],
    [0, 0, 0, 'upload  [########################] 100 %  0/0  0.0/s'],
  ])('%i of %i after %i ms', (done, total, ms, text) => {
    expect(formatProgress('upload', done, total, ms)).toBe(text);
  });
});

describe('colour', () => {
  const green = styleText('green', '✓', { validateStream: false });

  test('is on a terminal, and not with NO_COLOR', async () => {
    const env = await hostEnvironment({ USE_CLOUD_STORAGE: 'false' });
    expect((await onTerminal('doctor', env)).sent).toContain(`${green} configuration`);
    const { code, sent } = await onTerminal('doctor', { ...env, NO_COLOR: '1' });
    expect([code, sent.includes('\u001b')]).toEqual([0, false]);
    expect(sent).toContain('✓ configuration');
  });
});
