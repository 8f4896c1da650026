import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '../../node-agent/cloud/connection.ts';
import { RecordsBySecretKey } from '../../node-agent/cloud/records.ts';
import { objectKey } from '../../node-agent/contract.ts';
import { openStorage, type SaveInput } from '../../node-agent/index.ts';
import { serviceClient } from './cloud.ts';
import { testCloud, waitForStatus } from './storage.ts';

const BUCKET = 'codebegen-projects';

/** Saves a generation with an agent of its own, and waits until it is in the cloud. */
export async function saveToCloud(input: SaveInput) {
  const folder = await mkdtemp(join(tmpdir(), 'codebegen-test-'));
  const hour = 3_600_000;
  const storage = await openStorage({
    storePath: join(folder, 'store'),
    cloud: testCloud(BUCKET),
    uploadConcurrency: 4,
    cache: { path: join(folder, 'cache'), ttlMs: hour, maxAgeMs: hour, maxBytes: 1e9 },
    cleanupEveryMs: null,
  });
  try {
    const receipt = await storage.save(input);
    const { sha256 } = await waitForStatus(storage, receipt, 'verified');
    return { ...receipt, sha256 };
  } finally {
    await storage.close({ drainMs: 0 });
    await rm(folder, { recursive: true });
  }
}

/** Puts a generation into the cloud as an agent does: its row, and a small object as its archive. */
export async function putGeneration(options: {
  projectId: string;
  version: number;
  ownerId: string | null;
  status?: 'pending' | 'uploaded' | 'verified';
  /** Whether to store an object. @default true */
  object?: boolean;
  /** @default a text that is no archive */
  archive?: Buffer;
  /** Of its content. @default some other */
  digest?: string;
}): Promise<{ bucket: string; key: string }> {
  const { projectId, version, status = 'uploaded' } = options;
  const ref = { projectId, version, generationId: `gen-${version}` };
  const key = objectKey(ref);
  const archive = options.archive ?? Buffer.from(`archive of ${version}`);
  const sha256 = createHash('sha256').update(archive).digest('hex');
  const records = new RecordsBySecretKey(
    await connect(testCloud(BUCKET), new AbortController().signal),
  );
  const reserved = await records.reserve({
    ref,
    digest: options.digest ?? sha256,
    sha256,
    archiveBytes: archive.length,
    sourceBytes: 1,
    fileCount: 1,
    createdAt: new Date().toISOString(),
    ownerId: options.ownerId,
    replace: false,
  });
  if (reserved.outcome !== 'reserved') throw new Error(JSON.stringify(reserved));
  if (options.object !== false) {
    const { storage } = serviceClient();
    await storage.createBucket(BUCKET, { public: false });
    const { error } = await storage.from(BUCKET).upload(key, archive, { upsert: true });
    if (error !== null) throw error;
  }
  if (status !== 'pending') {
    const details = { fileCount: 1, readDetails: null };
    await records.record({ ref, objectKey: key, sha256, status, ...details });
  }
  return { bucket: BUCKET, key };
}
