/**
 * How long a save takes until it lasts, beside what any program has to do for the same files: write
 * them, and sync what the commit consists of, which is one file and two folders.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { openStorage, readConfig } from '../../node-agent/index.ts';
import { PACKAGES, readPackages, readSources, type Tree } from './corpus.ts';
import { runProgram } from './host.ts';
import { alternate, atLeast, atMost, type Measured, ratios, told } from './measure.ts';

/** What a save may take beside that, in milliseconds: the way to another thread, and two transactions. */
const ALLOWED_MS = 0.5;

/** Fewer of large trees: none is removed before the end, which would slow down those after it. */
const roundsOf = (files: number) => Math.min(30, Math.max(10, Math.round(6000 / files)));

type Times = { files: number } & Record<'save' | 'cpu' | 'bare' | 'commit' | 'each', number[]>;

export async function save(): Promise<Measured[]> {
  const folder = mkdtempSync(join(tmpdir(), 'codebegen-bench-'));
  try {
    const env = { FILE_STORAGE_PATH: join(folder, 'store'), USE_CLOUD_STORAGE: 'false' };
    const all = await runProgram<Times[]>(import.meta.filename, [folder], env);
    return all.flatMap(({ files, save, cpu, bare, commit, each }) => {
      const floor = bare.map((ms, round) => ms + commit[round]!);
      return [
        atMost(
          `save, ${files} files: less 0.5 ms, times bare writes and the fsyncs`,
          ratios(
            save.map((ms) => Math.max(0, ms - ALLOWED_MS)),
            floor,
          ),
          '×',
          files < 500 ? 1 : 0.5,
        ),
        told(`save, ${files} files: its CPU on all cores alike`, ratios(cpu, floor), '×'),
        files < 60
          ? told(`save, ${files} files: faster than one fsync a file`, ratios(each, save), '×')
          : atLeast(
              `save, ${files} files: faster than one fsync a file`,
              ratios(each, save),
              '×',
              8,
            ),
        told(`save, ${files} files: one fsync a file, times the floor`, ratios(each, floor), '×'),
        // Tells whether the file system is at its full speed: where it is not, all ways are alike.
        told(
          `save, ${files} files: bare writes, a file`,
          bare.map((ms) => (1000 * ms) / files),
          'µs',
        ),
      ];
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const folder = process.argv[2]!;
  // What comes after the answer is no part of it.
  const storage = await openStorage({ ...readConfig(process.env), background: false });
  const results: Times[] = [];
  const trees = [readSources(61), ...PACKAGES.map(readPackages)];
  for (const [index, tree] of trees.entries()) {
    const projectId = `p${index}`;
    const bytes = Object.values(tree).reduce((sum, content) => sum + content.length, 0);
    const whole = Buffer.alloc(bytes, 'whole');
    let n = 0;
    const cpu: number[] = [];
    const fresh = () => join(folder, `bare-${index}-${n++}`);
    const times = await alternate(
      // In this order what one leaves unsynced is not for the next one's fsync: bare has none.
      {
        each: () => void writeTree(fresh(), tree, { sync: true }),
        commit: () => void commit(fresh(), whole),
        save: async () => {
          const before = process.cpuUsage();
          await storage.save({ projectId, files: tree });
          const { user, system } = process.cpuUsage(before);
          cpu.push((user + system) / 1000 / availableParallelism());
        },
        bare: () => void writeTree(fresh(), tree),
      },
      { rounds: roundsOf(Object.keys(tree).length) },
    );
    // Without the rounds that do not count.
    const counted = cpu.slice(-times.save.length);
    results.push({ files: Object.keys(tree).length, ...times, cpu: counted });
  }
  await storage.close();
  console.log(JSON.stringify(results));
}

/** Writes files, one after another, with nothing that makes them last; or with one fsync for each. */
export function writeTree(root: string, tree: Tree, { sync = false } = {}): void {
  mkdirSync(root);
  const made = new Set([root]);
  for (const [path, content] of Object.entries(tree)) {
    const file = join(root, path);
    const parent = dirname(file);
    if (!made.has(parent)) {
      mkdirSync(parent, { recursive: true });
      made.add(parent);
    }
    const fd = openSync(file, 'wx');
    writeSync(fd, content);
    if (sync) fsyncSync(fd);
    closeSync(fd);
  }
  if (sync) for (const name of made) syncOne(name);
}

/** What a commit syncs: one file with all of it, the folder that it is in, and the rename of that. */
export function commit(folder: string, whole: Buffer): void {
  mkdirSync(`${folder}-new`);
  writeFileSync(join(`${folder}-new`, 'whole'), whole);
  syncOne(join(`${folder}-new`, 'whole'));
  syncOne(`${folder}-new`);
  renameSync(`${folder}-new`, folder);
  syncOne(dirname(folder));
}

function syncOne(path: string): void {
  const fd = openSync(path, 'r');
  fsyncSync(fd);
  closeSync(fd);
}
