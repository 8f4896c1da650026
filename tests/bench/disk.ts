/** What a generation takes on the disk once it is settled and its tree is gone; and what is left of it deleted. */
import { lstatSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { openStorage, readConfig } from '../../node-agent/index.ts';
import { Layout } from '../../node-agent/store/layout.ts';
import { PACKAGES, readPackages, readSources } from './corpus.ts';
import { atMost, type Measured } from './measure.ts';

const DELETED = 2000;

export async function disk(): Promise<Measured[]> {
  const folder = mkdtempSync(join(tmpdir(), 'codebegen-bench-'));
  const storePath = join(folder, 'store');
  const env = { FILE_STORAGE_PATH: storePath, CACHE_PATH: join(folder, 'cache') };
  const storage = await openStorage({ ...readConfig(env), background: false });
  try {
    const results: Measured[] = [];
    for (const tree of [readSources(117), ...PACKAGES.map(readPackages)]) {
      const files = Object.keys(tree).length;
      const receipt = await storage.save({ projectId: `p${files}`, files: tree });
      const { bytes: archive } = await storage.archive(receipt);
      const { bytes, inodes } = usedBy(receipt.path);
      results.push(
        atMost(
          `disk, ${files} files: less 12 KiB, times the archive`,
          (bytes - 12 * 1024) / archive,
          '×',
          1.05,
        ),
        atMost(`disk, ${files} files: inodes`, inodes, '', 5),
      );
    }
    const before = catalogBytes(storePath);
    for (let i = 0; i < DELETED; i++) {
      await storage.delete(await storage.save({ projectId: 'deleted', files: { a: 'a' } }));
    }
    const tombstones = statSync(new Layout(storePath).tombstones('deleted')).size;
    const each = (catalogBytes(storePath) - before + tombstones) / DELETED;
    results.push(
      atMost('disk, a generation that was deleted: its bytes, the catalog counted', each, 'B', 600),
    );
    return results;
  } finally {
    await storage.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What lies in a folder, and the folder itself. `bytes` are those of whole blocks. */
function usedBy(folder: string): { bytes: number; inodes: number } {
  let [bytes, inodes] = [statSync(folder).blocks * 512, 1];
  for (const name of readdirSync(folder, { recursive: true })) {
    bytes += lstatSync(join(folder, String(name))).blocks * 512;
    inodes++;
  }
  return { bytes, inodes };
}

function catalogBytes(storePath: string): number {
  const { catalog } = new Layout(storePath);
  const db = new DatabaseSync(catalog);
  db.exec('pragma wal_checkpoint(truncate)');
  db.close();
  return statSync(catalog).size;
}
