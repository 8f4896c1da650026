/** How fast an archive is made, and how large it is, beside gzip of the same in one thread. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { MAX_LANES } from '../../node-agent/archive/gzip.ts';
import { packArchive } from '../../node-agent/archive/pack.ts';
import { type CompleteManifest, DEFAULT_LIMITS } from '../../node-agent/contract.ts';
import { parseSave } from '../../node-agent/save-input.ts';
import { takeInventory } from '../../node-agent/store/source.ts';
import { PACKAGES, readPackages, type Tree } from './corpus.ts';
import { alternate, atLeast, atMost, type Measured, ratios, told } from './measure.ts';

const ROUNDS = 9;

export async function archive(): Promise<Measured[]> {
  const folder = mkdtempSync(join(tmpdir(), 'codebegen-bench-'));
  try {
    const sizes: Measured[] = [];
    let all = { ours: 0, solid: 0 };
    for (const names of PACKAGES) {
      const { tar, pack } = await prepare(readPackages(names));
      const { bytes: ours } = await pack();
      const solid = gzipSync(tar, { level: 6 }).length;
      all = { ours: all.ours + ours, solid: all.solid + solid };
      sizes.push(
        told(`archive: larger than solid gzip, ${names.join(' + ')}`, percent(ours, solid), '%'),
      );
    }
    sizes.unshift(
      atMost('archive: larger than solid gzip, all packages', percent(all.ours, all.solid), '%', 3),
    );

    const tree = readPackages(PACKAGES.at(-1)!);
    const { tar, pack } = await prepare(tree);
    const file = join(folder, 'tree.tar');
    writeFileSync(file, tar);
    const run = (command: string) =>
      void execFileSync(command, ['-6', '-k', '-c', file], { maxBuffer: 1e9 });
    const pigz = spawnSync('pigz', ['--version']).status === 0;
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
    return [
      atLeast(
        `archive: faster than one-thread zlib, ${Object.keys(tree).length} files`,
        ratios(times.zlib, times.ours),
        '×',
        1.7,
      ),
      told('archive: faster than gzip(1) of the tar', ratios(times.gzip, times.ours), '×'),
      ...(pigz
        ? [told('archive: faster than pigz(1) of the tar', ratios(times.pigz, times.ours), '×')]
        : []),
      ...sizes,
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A tree as the agent packs it, from memory and with nothing written, and the tar that is in there. */
export async function prepare(files: Tree) {
  const { source } = parseSave({ projectId: 'p', files });
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

function percent(ours: number, theirs: number): number {
  return (ours / theirs - 1) * 100;
}
