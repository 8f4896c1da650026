/** How fast an archive is made, and how large it is, beside gzip of the same in one thread. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { MAX_LANES } from '../../node-agent/archive/gzip.ts';
import { packArchive } from '../../node-agent/archive/pack.ts';
import { type CompleteManifest, DEFAULT_LIMITS } from '../../node-agent/contract.ts';
import { parseSave } from '../../node-agent/save/request.ts';
import { takeInventory } from '../../node-agent/store/inventory.ts';
import { PACKAGES, readPackages, type Tree } from './corpus.ts';
import { runProgram } from './host.ts';
import { alternate, atLeast, atMost, type Measured, ratios, told } from './measure.ts';

const ROUNDS = 15;

type Sizes = { name: string; ours: number; solid: number }[];
type Times = { files: number } & Record<'ours' | 'zlib' | 'gzip' | 'pigz', number[]>;

export async function archive(): Promise<Measured[]> {
  const folder = mkdtempSync(join(tmpdir(), 'codebegen-bench-'));
  try {
    const program = import.meta.filename;
    const { sizes, times } = await runProgram<{ sizes: Sizes; times: Times }>(
      program,
      [folder],
      {},
    );
    const all = sizes.reduce((a, b) => ({
      name: 'all packages',
      ours: a.ours + b.ours,
      solid: a.solid + b.solid,
    }));
    return [
      atLeast(
        `archive: faster than one-thread zlib, ${times.files} files`,
        ratios(times.zlib, times.ours),
        '×',
        1.6,
      ),
      told('archive: faster than gzip(1) of the tar', ratios(times.gzip, times.ours), '×'),
      ...(hasPigz()
        ? [told('archive: faster than pigz(1) of the tar', ratios(times.pigz, times.ours), '×')]
        : []),
      ...[...sizes, all].map(({ name, ours, solid }) =>
        atMost(`archive: larger than solid gzip, ${name}`, (ours / solid - 1) * 100, '%', 3),
      ),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const sizes: Sizes = [];
  for (const names of PACKAGES) {
    const tree = readPackages(names);
    const { tar, pack } = await prepare(tree);
    const name = `${names.join(' + ')}, ${Object.keys(tree).length} files`;
    const { bytes: ours } = await pack();
    sizes.push({ name, ours, solid: gzipSync(tar, { level: 6 }).length });
  }

  const tree = readPackages(PACKAGES.at(-1)!);
  const { tar, pack } = await prepare(tree);
  const file = join(process.argv[2]!, 'tree.tar');
  writeFileSync(file, tar);
  const run = (command: string) =>
    void execFileSync(command, ['-6', '-k', '-c', file], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  const pigz = hasPigz();
  const times = await alternate(
    {
      ours: () => pack(),
      zlib: () => void gzipSync(tar, { level: 6 }),
      gzip: () => run('gzip'),
      // In the place of it where it is not installed: the row is left out then.
      pigz: () => (pigz ? run('pigz') : 0),
    },
    { rounds: ROUNDS },
  );
  const files = Object.keys(tree).length;
  console.log(JSON.stringify({ sizes, times: { files, ...times } }));
}

function hasPigz(): boolean {
  return spawnSync('pigz', ['--version']).status === 0;
}

/** A tree as the agent packs it, from memory and with nothing written, and the tar that is in there. */
export async function prepare(files: Tree) {
  const { source } = parseSave({ projectId: 'p', files });
  if (source.kind === 'draft') throw new Error('These are in memory');
  const { entries, read, totalBytes } = takeInventory(source, DEFAULT_LIMITS);
  const manifest: CompleteManifest = {
    generation_id: 'g',
    project_id: 'p',
    version: 1,
    created_at: '2026-01-01T00:00:00.000Z',
    file_count: entries.length,
    total_size_bytes: totalBytes,
    files: entries.map(({ path }) => path),
    metadata: {},
    schema: 1,
    digest: '',
    entries,
    artifacts: [],
  };
  const pack = (write: (bytes: Buffer) => void = () => {}) =>
    packArchive(
      manifest,
      (_, path) => read(path),
      write,
      () => MAX_LANES,
    );
  const pieces: Buffer[] = [];
  await pack((bytes) => void pieces.push(Buffer.from(bytes)));
  return { tar: gunzipSync(Buffer.concat(pieces)), pack };
}
