import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** Mounts need root, and not every root may. */
export const canMount = process.getuid?.() === 0 && tryMount();

/** A small file system of its own for a test, gone when the test is over. */
export function mountFileSystem(size: string, { inodes }: { inodes?: number } = {}): string {
  const at = mkdtempSync(join(tmpdir(), 'codebegen-mount-'));
  const limit = inodes === undefined ? '' : `,nr_inodes=${inodes}`;
  mount('-t', 'tmpfs', '-o', `size=${size}${limit}`, 'tmpfs', at);
  onTestFinished(() => unmount(at));
  return at;
}

/** Lets nobody write to a mounted file system from now on. */
export function makeReadOnly(at: string): void {
  mount('-o', 'remount,ro', at);
}

/** Mounts another file system on a folder within one. */
export function mountWithin(folder: string): void {
  mkdirSync(folder, { recursive: true });
  mount('-t', 'tmpfs', '-o', 'size=10m', 'tmpfs', folder);
  onTestFinished(() => {
    spawnSync('umount', ['--lazy', folder]);
  });
}

/** Fills a file system to its last byte. @returns how to make room again */
export async function fill(at: string, name = 'filler'): Promise<() => void> {
  const path = join(at, name);
  for (const bytes of [1024 * 1024, 4096]) {
    for (;;) {
      try {
        await writeFile(path, Buffer.alloc(bytes), { flag: 'a' });
      } catch {
        break;
      }
    }
  }
  return () => rmSync(path);
}

/** Takes all inodes of a file system but some. @returns how to give them back */
export async function fillInodes(at: string, left: number): Promise<() => void> {
  const folder = join(at, 'fillers');
  mkdirSync(folder);
  for (let n = 0; statfsSync(at).ffree > left; n++) await writeFile(join(folder, String(n)), '');
  return () => rmSync(folder, { recursive: true });
}

function mount(...args: string[]): void {
  const { status, stderr } = spawnSync('mount', args);
  if (status !== 0) throw new Error(`mount ${args.join(' ')}: ${stderr}`);
}

function unmount(at: string): void {
  spawnSync('umount', ['--lazy', at]);
  rmSync(at, { recursive: true, force: true });
}

function tryMount(): boolean {
  const at = mkdtempSync(join(tmpdir(), 'codebegen-mount-'));
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', at]);
  unmount(at);
  return status === 0;
}
