import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { OnEvent } from '../events/events.ts';
import type { Sizes } from '../storage/sizes.ts';
import type { StorageStatus } from '../storage/status.ts';

/** What `/metrics` tells, in Prometheus' text format. */
export type Metrics = Readonly<{
  onEvent: OnEvent;
  /** @param sizes `null` where they could not be measured */
  render(status: StorageStatus, sizes: Sizes | null, now: number): Promise<string>;
  contentType: string;
}>;

const SAVE_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
const UPLOAD_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** Makes the metrics of one daemon. */
export function createMetrics(): Metrics {
  const registers = [new Registry()];
  const [registry] = registers as [Registry];
  const prefix = 'codebegen_storage';
  const counter = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
    new Counter({ name: `${prefix}_${name}`, help, labelNames, registers });
  const gauge = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
    new Gauge({ name: `${prefix}_${name}`, help, labelNames, registers });

  const saves = counter('saves_total', 'Generations that were saved.', ['created']);
  const savedBytes = counter('saved_bytes_total', 'Bytes of files that were saved.');
  const saveSeconds = new Histogram({
    name: `${prefix}_save_duration_seconds`,
    help: 'How long saves took.',
    buckets: SAVE_SECONDS,
    registers,
  });
  const uploadedBytes = counter('uploaded_bytes_total', 'Bytes of archives that were uploaded.');
  const uploadSeconds = new Histogram({
    name: `${prefix}_upload_duration_seconds`,
    help: 'How long uploads took.',
    buckets: UPLOAD_SECONDS,
    registers,
  });
  const failures = counter('upload_failures_total', 'Steps towards the cloud that failed.', [
    'code',
    'given_up',
  ]);
  const gets = counter('gets_total', 'Generations that were got, by where from.', ['from']);
  const evictions = counter('evictions_total', 'Generations that were evicted, by where from.', [
    'from',
  ]);
  const conflicts = counter(
    'conflicts_total',
    'Generations that are at odds with the cloud: replaced or taken there, renumbered here, or lost.',
    ['kind'],
  );
  const damages = counter(
    'damaged_total',
    'Generations whose bytes were not what they were, by where, and whether that was mended.',
    ['where', 'mended'],
  );
  const evictedBytes = counter('evicted_bytes_total', 'Bytes of files that were evicted.', [
    'from',
  ]);

  const generations = gauge('generations', 'Generations on this host.', ['status']);
  const owed = gauge('outbox_jobs', 'Steps owed to the cloud, and those parked.', ['state']);
  const age = gauge('outbox_oldest_seconds', 'For how long the oldest step is owed.');
  const paused = gauge('outbox_paused', '1 while the cloud is away, or refuses.');
  const told = gauge('webhook_deliveries', 'Events owed to webhooks, and those parked.', ['state']);
  const tellAge = gauge('webhook_oldest_seconds', 'For how long the oldest event is owed.');
  const scrubbed = gauge(
    'scrub_checked',
    'Generations of which every byte was compared since all were the last time.',
  );
  const scrubAge = gauge('scrub_pass_seconds', 'For how long that pass is under way.');
  const kept = gauge(
    'kept_bytes',
    'Bytes of archives in the store and the bucket, of trees, and of cached copies.',
    ['in'],
  );
  const diskFree = gauge('disk_free_bytes', 'Bytes free where the store is.');
  const diskInodes = gauge(
    'disk_free_inodes',
    'Inodes free where the store is, where it has a limit.',
  );
  const diskSize = gauge('disk_size_bytes', 'Bytes of the file system where the store is.');

  return {
    contentType: registry.contentType,
    onEvent(event) {
      switch (event.kind) {
        case 'generation.saved':
          savedBytes.inc(event.bytes);
          saves.inc({ created: 'true' });
          saveSeconds.observe(event.ms / 1000);
          break;
        case 'generation.unchanged':
          saves.inc({ created: 'false' });
          saveSeconds.observe(event.ms / 1000);
          break;
        case 'generation.uploaded':
          uploadedBytes.inc(event.bytes);
          uploadSeconds.observe(event.ms / 1000);
          break;
        case 'attempt.failed':
          failures.inc({ code: event.code, given_up: String(event.givenUp) });
          break;
        case 'generation.read':
          gets.inc({ from: event.from });
          break;
        case 'store.evicted':
          evictions.inc({ from: event.from }, event.generations);
          evictedBytes.inc({ from: event.from }, event.bytes);
          break;
        case 'generation.damaged':
          damages.inc({ where: event.where, mended: String(event.mended) });
          break;
        case 'generation.conflict':
        case 'generation.renumbered':
        case 'generation.lost':
          conflicts.inc({ kind: event.kind.slice('generation.'.length) });
          break;
      }
    },
    render(status, sizes, now) {
      const { disk } = status;
      generations.reset();
      for (const [name, count] of Object.entries(status.generations)) {
        generations.set({ status: name }, count);
      }
      const { outbox, webhooks } = status;
      for (const state of ['owed', 'parked'] as const) {
        owed.set({ state }, outbox[state]);
        told.set({ state }, webhooks[state]);
      }
      age.set(secondsSince(outbox.since, now));
      tellAge.set(secondsSince(webhooks.since, now));
      paused.set(status.outbox.paused ? 1 : 0);
      scrubbed.set(status.scrub?.checked ?? 0);
      scrubAge.set(secondsSince(status.scrub?.beganAt ?? null, now));
      kept.reset();
      for (const [where, bytes] of Object.entries(sizes ?? {})) kept.set({ in: where }, bytes);
      diskFree.set(disk?.freeBytes ?? 0);
      diskSize.set(disk?.bytes ?? 0);
      if (disk?.freeInodes == null) diskInodes.reset();
      else diskInodes.set(disk.freeInodes);
      return registry.metrics();
    },
  };
}

/** @param since in ISO 8601; `null`: 0 */
function secondsSince(since: string | null, now: number): number {
  return since === null ? 0 : Math.max(0, (now - Date.parse(since)) / 1000);
}
