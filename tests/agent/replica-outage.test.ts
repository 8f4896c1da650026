/** The primary is away for an hour, while two hosts save and read: reads go on, nothing is lost, all is even soon after. */
import { expect, test } from 'vitest';
import type { Storage } from '../../node-agent/index.ts';
import { uniqueId } from '../support/cloud.ts';
import { even, keysIn, s3Replica } from '../support/replica.ts';
import { waitForStatus } from '../support/storage.ts';
import { quiet, startHost, textsOf } from '../support/two-hosts.ts';

const MINUTE = 60_000;

test('two hosts, an hour without the primary', async () => {
  const bucket = uniqueId('bucket');
  let passed = 0;
  const clocks = {
    now: () => Date.now() + passed,
    monotonic: () => performance.now() + passed,
  };
  const hosts = [await startHost(bucket, clocks), await startHost(bucket, clocks)] as const;
  const { input, fake } = await s3Replica();
  const saved: { of: number; ref: { projectId: string; version: number }; text: string }[] = [];
  const save = async (of: number): Promise<Storage> => {
    const { storage } = hosts[of]!;
    const text = `${of} ${saved.length}`;
    const ref = await storage.save({ projectId: uniqueId(), files: { a: text } });
    saved.push({ of, ref, text });
    return storage;
  };
  for (const { storage } of hosts) await storage.replicas.add(input);
  for (let n = 0; n < 26; n++) {
    const storage = await save(n % 2);
    await waitForStatus(storage, saved.at(-1)!.ref, 'verified');
  }
  await even(hosts[0].storage, input.name);

  for (const { proxy } of hosts) proxy.rule = () => ({ kind: 'down' });
  for (let minutes = 0; minutes < 60; minutes += 5) {
    passed += 5 * MINUTE;
    for (const [of, { storage }] of hosts.entries()) {
      await save(of);
      // Each time one of the other's that was never read here.
      const { ref, text } = saved[2 * (minutes / 5) + (1 - of)]!;
      expect((await storage.get(ref)).from).toBe('replica');
      expect(await textsOf(storage, ref)).toEqual({ a: text });
    }
  }
  for (const { storage } of hosts) {
    expect((await storage.status()).outbox).toMatchObject({ owed: 12, paused: true });
  }

  for (const { proxy } of hosts) proxy.rule = () => null;
  passed += MINUTE;
  for (const { storage } of hosts) await quiet(storage);
  await even(hosts[0].storage, input.name);
  expect(saved).toHaveLength(50);
  for (const { of, ref, text } of saved) {
    expect((await hosts[of]!.storage.show(ref)).status).toBe('verified');
    expect(await textsOf(hosts[1 - of]!.storage, ref)).toEqual({ a: text });
  }
  expect(await keysIn(hosts[0].storage, input.name)).toHaveLength(50);
  expect(fake.asked.filter((line) => /^PUT .*gz$/.test(line))).toHaveLength(50);
});
