import { createHash } from 'node:crypto';
import { connect } from '../../node-agent/cloud/connection.ts';
import { CloudRecords } from '../../node-agent/cloud/records.ts';
import { objectKey } from '../../node-agent/contract.ts';
import { serviceClient } from './cloud.ts';
import { testCloud } from './storage.ts';

const BUCKET = 'codebegen-projects';

/** Puts a generation into the cloud as an agent does: its row, and a small object as its archive. */
export async function putGeneration(options: {
  projectId: string;
  version: number;
  ownerId: string | null;
  status?: 'pending' | 'uploaded' | 'verified';
  /** Whether to store an object. @default true */
  object?: boolean;
}): Promise<{ bucket: string; key: string }> {
  const { projectId, version, status = 'uploaded' } = options;
  const ref = { projectId, version, generationId: `gen-${version}` };
  const key = objectKey(ref);
  const archive = Buffer.from(`archive of ${version}`);
  const sha256 = createHash('sha256').update(archive).digest('hex');
  const records = new CloudRecords(connect(testCloud(BUCKET), new AbortController().signal));
  const reserved = await records.reserve({
    ref,
    objectKey: key,
    digest: sha256,
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
  if (status !== 'pending') await records.record(ref, sha256, status);
  return { bucket: BUCKET, key };
}
