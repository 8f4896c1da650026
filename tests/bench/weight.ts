/**
 * What a generator host installs, how long its commands take to begin, and how large the function
 * is. The package is packed and installed as from the registry, which it asks.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { ROOT } from '../support/run.ts';
import { startDaemon } from './host.ts';
import { alternate, type Measured, told } from './measure.ts';

const ROUNDS = 11;

export async function weight(): Promise<Measured[]> {
  const folder = mkdtempSync(join(tmpdir(), 'codebegen-bench-'));
  try {
    const packages = install(folder);
    const bin = join(folder, 'node_modules/codebegen-storage/dist/node-agent/bin.js');
    const times = await alternate(
      {
        bare: () => execFileSync(process.execPath, ['-e', '']),
        version: () => execFileSync(process.execPath, [bin, '--version']),
        ready: () => startAndStop(bin, join(folder, 'host')),
      },
      { rounds: ROUNDS },
    );
    const bundle = bundleFunction(folder);
    return [
      told('a generator host installs: packages', packages.length, ''),
      told('a generator host installs', sizeOf(join(folder, 'node_modules')) / 1e6, 'MB'),
      told('of that ours', sizeOf(join(folder, 'node_modules/codebegen-storage')) / 1e6, 'MB'),
      told('from process start to ready, `start`', times.ready, 'ms'),
      told('`--version`', times.version, 'ms'),
      told('Node itself', times.bare, 'ms'),
      told('bundle of the function, without packages', bundle.length / 1e3, 'kB'),
      told('the same, gzipped', gzipSync(bundle).length / 1e3, 'kB'),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @returns the folders of all packages that came with it */
function install(folder: string): string[] {
  const npm = (...args: string[]) => execFileSync('npm', args, { cwd: folder, stdio: 'pipe' });
  execFileSync('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: ROOT });
  const [tarball] = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
  writeFileSync(join(folder, 'package.json'), '{"private":true,"type":"module"}');
  npm('install', '--prefer-offline', '--no-audit', '--no-fund', join(folder, tarball!));
  const lock = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, unknown>;
  };
  return Object.keys(lock.packages).filter((path) => path !== '');
}

/** Starts a daemon on a new store, and gives how long that took until it could save, in ms. */
async function startAndStop(bin: string, folder: string): Promise<number> {
  rmSync(folder, { recursive: true, force: true });
  const { ms, end } = await startDaemon(bin, {
    FILE_STORAGE_PATH: join(folder, 'store'),
    CACHE_PATH: join(folder, 'cache'),
  });
  await end('SIGTERM');
  return ms;
}

function bundleFunction(folder: string): Buffer {
  execFileSync(process.execPath, [`${ROOT}/functions/bundle.ts`, folder], { stdio: 'pipe' });
  return readFileSync(join(folder, 'generations.js'));
}

/** Bytes of all files below a folder. */
function sizeOf(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + readFileSync(join(entry.parentPath, entry.name)).length, 0);
}
