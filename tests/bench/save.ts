/**
 * How long a save takes until it lasts, beside what any program has to do for the same files: write
 * them, and sync what the commit consists of, which is an archive and two folders.
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
import { prepare } from './archive.ts';
import { PACKAGES, readPackages, readSources, type Tree } from './corpus.ts';
import { runProgram } from './host.ts';
import { alternate, atLeast, atMost, type Measured, ratios, told } from './measure.ts';

/** Fewer of large trees: none is removed before the end, which would slow down those after it. */
const roundsOf = (files: number) => Math.min(30, Math.max(10, Math.round(6000 / files)));

type Times = { files: number } & Record<
  'save' | 'cpu' | 'bare' | 'commit' | 'each' | 'pack',
  number[]
>;

export async function save(): Promise<Measured[]> {
  const folder = mkdtempSync(join(tmpdir(), 'codebegen-bench-'));
  try {
    const env = { FILE_STORAGE_PATH: join(folder, 'store'), USE_CLOUD_STORAGE: 'false' };
    const all = await runProgram<Times[]>(import.meta.filename, [folder], env);
    return all.flatMap(({ files, save, cpu, bare, commit, each, pack }) => {
      const floor = bare.map((ms, round) => ms + commit[round]!);
      return [
        atMost(
          `save, ${files} files: times bare writes and the fsyncs`,
          ratios(save, floor),
          '×',
          1.5,
        ),
        told(`save, ${files} files: its CPU on all cores alike`, ratios(cpu, floor), '×'),
        // The receipt has the archive's sha256.
        told(`save, ${files} files: packing alone, times the floor`, ratios(pack, floor), '×'),
        atLeast(`save, ${files} files: faster than one fsync a file`, ratios(each, save), '×', 5),
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
    const { bytes } = await storage.archive(await storage.save({ projectId, files: tree }));
    const archive = Buffer.alloc(bytes, 'archive');
    const { pack } = await prepare(tree);
    let n = 0;
    const cpu: number[] = [];
    const fresh = () => join(folder, `bare-${index}-${n++}`);
    const times = await alternate(
      // In this order what one leaves unsynced is not for the next one's fsync: bare has none.
      {
        each: () => void writeTree(fresh(), tree, { sync: true }),
        commit: () => void commit(fresh(), archive),
        save: async () => {
          const before = process.cpuUsage();
          await storage.save({ projectId, files: tree });
          const { user, system } = process.cpuUsage(before);
          cpu.push((user + system) / 1000 / availableParallelism());
        },
        bare: () => void writeTree(fresh(), tree),
        pack: () => pack(),
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

/** What a commit syncs: the archive, the folder that it is in, and the rename of that. */
export function commit(folder: string, archive: Buffer): void {
  mkdirSync(`${folder}-new`);
  writeFileSync(join(`${folder}-new`, 'archive.tar.gz'), archive);
  syncOne(join(`${folder}-new`, 'archive.tar.gz'));
  syncOne(`${folder}-new`);
  renameSync(`${folder}-new`, folder);
  syncOne(dirname(folder));
}

function syncOne(path: string): void {
  const fd = openSync(path, 'r');
  fsyncSync(fd);
  closeSync(fd);
}
