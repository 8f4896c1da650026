import type { CloudObjects } from './cloud/objects.ts';
import type { CloudRecords } from './cloud/records.ts';
import { formatRef, isInCloud, type Ref, StorageError } from './contract.ts';
import { type Catalog, type GenerationRow, keyOf, refOf } from './outbox/catalog.ts';
import type { Store } from './store/store.ts';

/** After which generation to go on. */
export type VerifyPosition = Readonly<{ projectId: string; version: number }>;

export type VerifyOptions = Readonly<{
  /** This project alone. */
  projectId?: string;
  after?: VerifyPosition;
  /** Whether to read what lies on this host. @default true */
  store?: boolean;
  /** Whether to read back what lies in the cloud, where it is on. @default true */
  cloud?: boolean;
  /** How many of them, from 0 to 1, chosen at random. @default 1 */
  sample?: number;
}>;

/** What was found of one generation: nothing is the matter with it where there are no problems. */
export type Verified = Readonly<
  Ref & { problems: readonly { where: 'store' | 'cloud'; reason: string }[] }
>;

type Cloud = Readonly<{ objects: CloudObjects; records: CloudRecords }>;

/**
 * Reads generations, one after another by project and version, and compares every byte with the
 * hashes that were recorded. Nothing is changed. What has no hashes, being of the Python system,
 * is passed over.
 *
 * @throws StorageError `unavailable` where the cloud cannot be asked: it says nothing of the bytes
 */
export async function* verifyAll(
  parts: Readonly<{ store: Store; catalog: Catalog; cloud: Cloud | null; random: () => number }>,
  options: VerifyOptions,
): AsyncGenerator<Verified> {
  const { store = true, cloud = true, sample = 1, projectId } = options;
  for (const row of parts.catalog.stored(projectId ?? null, options.after)) {
    if (row.digest === null || parts.random() >= sample) continue;
    const ref = refOf(row);
    const problems: Verified['problems'][number][] = [];
    if (store && parts.store.has(ref)) {
      const reasons = await parts.store.checkTree(ref);
      problems.push(...reasons.map((reason) => ({ where: 'store' as const, reason })));
    }
    if (cloud && parts.cloud !== null && isInCloud(row.status)) {
      const reason = await checkObject(parts.cloud, row);
      if (reason !== null) problems.push({ where: 'cloud', reason });
    }
    yield { ...ref, problems };
  }
}

/**
 * Reads the archive of a generation back, all of it.
 *
 * @returns what is the matter with it; `null` where nothing is
 */
export async function checkObject(
  { objects, records }: Cloud,
  row: GenerationRow,
): Promise<string | null> {
  const record = await records.find(row.project_id, row.version);
  const sha256 = record?.sha256 ?? row.sha256;
  try {
    const found = await objects.readBack(record?.object_key ?? keyOf(row));
    return found === sha256 ? null : 'the bucket holds other bytes than were recorded';
  } catch (error) {
    if (error instanceof StorageError && error.code === 'not_found') {
      return `${formatRef(refOf(row))} is not in the bucket`;
    }
    throw error;
  }
}
