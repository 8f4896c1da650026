/**
 * The agent is killed before every step of an upload, a run for each. The next start brings what is
 * owed to the cloud: verified, recorded once, whatever the first one had done already.
 */
import { createCipheriv, createHash } from 'node:crypto';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Receipt } from '../../node-agent/index.ts';
import { isByHostKey } from '../support/by-host-key.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { openTestStorage, settled, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { crash } from './crash.ts';
import { eachStep } from './each-step.ts';
import { losePower } from './power-loss.ts';
import { CONTENTS, refIn } from './scenarios.ts';

/** Content that does not get smaller: above 6 MB in all, so that it goes in chunks. */
const BIG = {
  'big.bin': createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(
    Buffer.alloc(7_000_000),
  ),
};

test.each([
  ['in one request', CONTENTS.new, 15],
  ['in chunks', BIG, 35],
])(
  'an upload %s: killed before every step, it is in the cloud once in the end',
  async (_, files, every) => {
    const bucket = uniqueId('bucket');
    const { url, key } = testCloud(bucket);
    // Has the key be one, where it is that of a host.
    await openTestStorage({ cloud: testCloud(bucket), background: false });
    const env = {
      NODE_COMPILE_CACHE: await tempFolder(),
      USE_CLOUD_STORAGE: 'true',
      SUPABASE_URL: url,
      ...(isByHostKey ? { HOST_KEY: key } : { SUPABASE_SERVICE_KEY: key }),
      SUPABASE_BUCKET: bucket,
    };
    const start = async (at: number) => {
      const projectId = uniqueId();
      const template = await tempFolder();
      const local = await openTestStorage({ storePath: template });
      const receipt = await settled(local, local.save({ ...refIn(projectId), files }));
      await local.close();
      const folder = await tempFolder();
      const crashed = await crash({ scenario: 'upload', projectId, at, folder, template, env });
      return { crashed, receipt };
    };
    const { steps } = (await start(0)).crashed;
    expect(steps).toBeGreaterThan(20);
    await eachStep(steps!, every, async (at) => {
      const { receipt, crashed } = await start(at);
      const { storePath, unsynced } = crashed;
      // A machine that went down and one that lost power, in turns.
      const folder = join(storePath, '..');
      const copy = await tempFolder();
      cpSync(folder, copy, { recursive: true, verbatimSymlinks: true });
      if (at % 2 === 0) {
        losePower(copy, folder, unsynced, { content: 'zeros', entries: true, catalog: true });
      }
      await expectInCloudOnce(join(copy, 'store'), bucket, receipt).catch((error: Error) => {
        error.message = `killed at step ${at} of ${steps}: ${error.message}`;
        throw error;
      });
    });
  },
);

async function expectInCloudOnce(storePath: string, bucket: string, receipt: Receipt) {
  const { projectId } = receipt;
  const storage = await openTestStorage({ storePath, cloud: testCloud(bucket) });
  await waitForStatus(storage, receipt, 'verified');
  await storage.drain();
  expect((await storage.status()).outbox).toMatchObject({ owed: 0, parked: 0 });
  const service = serviceClient();
  const rows = await service
    .from('storage_generations')
    .select('version, status, sha256, object_key')
    .eq('project_id', projectId);
  const { sha256 } = await storage.archive(receipt);
  expect(rows.data).toMatchObject([{ version: 2, status: 'verified', sha256 }]);
  const listed = await service.storage.from(bucket).list(`${projectId}/generations`);
  expect(listed.data).toHaveLength(1);
  const object = await service.storage.from(bucket).download(rows.data![0]!.object_key);
  const bytes = Buffer.from(await object.data!.arrayBuffer());
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256);
  await storage.close({ drainMs: 0 });
}
