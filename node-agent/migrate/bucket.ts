import { parseObjectKey } from '../contract.ts';
import type { Storage } from '../storage/storage.ts';
import { Counts } from './counts.ts';
import type { MigrateOptions, Report } from './migrate.ts';

/**
 * Makes rows for archives that the Python system put into the bucket, so that their owners see
 * them. Each is read back once, for its hash. May be repeated: what has a row is passed over.
 */
export async function migrateBucket(
  storage: Storage,
  { only, owners, signal, onProgress = () => {} }: Omit<MigrateOptions, 'storePath' | 'verify'>,
): Promise<Report> {
  const counts = new Counts();
  let [migrated, known, done] = [0, 0, 0];
  for await (const key of storage.archivesInBucket(only)) {
    if (signal?.aborted === true) break;
    counts.found();
    const ref = parseObjectKey(key);
    if (ref === null)
      counts.fail(key, 'its key is not {project}/generations/v{version}__{id}.tar.gz');
    else {
      await counts.attempt(key, async () => {
        if (await storage.recordArchive(ref, key, owners.get(ref.projectId) ?? null)) migrated++;
        else known++;
      });
    }
    done++;
    onProgress({ stage: 'read', done, total: done });
  }
  const report = counts.report();
  const verified = report.found - report.failed;
  return { ...report, migrated, known, verified, stopped: signal?.aborted === true };
}
