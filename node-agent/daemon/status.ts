/** How it is: status, uploads, probes and metrics. */
import type { Handler } from 'hono';
import type { Logger } from 'pino';
import { StorageError, toProblem } from '../contract.ts';
import { toWire } from '../events/wire.ts';
import { RANGE_NAMES } from '../read/stats.ts';
import type { Storage } from '../storage/storage.ts';
import { readPage } from './input.ts';
import { Measured } from './measured.ts';
import type { Metrics } from './metrics.ts';

/** `GET /v1/status` */
export function showStatus(storage: Storage): Handler {
  return async (c) => c.json(toWire(await storage.countedStatus()) as object);
}

/** `GET /v1/activity?range`: what was done lately. */
export function showActivity(storage: Storage): Handler {
  return async (c) => {
    const { range = 'hour' } = c.req.query();
    const known = RANGE_NAMES.find((name) => name === range);
    if (known === undefined) {
      throw new StorageError(
        'invalid_input',
        `Cannot use the request: range: one of ${RANGE_NAMES.join(', ')}`,
      );
    }
    return c.json(toWire({ range: known, items: storage.activity(known) }) as object);
  };
}

/** `GET /v1/uploads`: what is owed to the cloud, oldest first. */
export function listUploads(storage: Storage): Handler {
  return async (c) => c.json(toWire(await storage.uploads(readPage(c))) as object);
}

/** `POST /v1/uploads/retry`: has tried again what was parked. */
export function retryUploads(storage: Storage): Handler {
  return async (c) => c.json({ retried: await storage.retryParked() });
}

/** `POST /v1/cleanup`: evicts cached copies and trees that are too old or too much, by the settings. */
export function cleanUp(storage: Storage): Handler {
  return async (c) => {
    const cache = await storage.cleanupCache();
    return c.json({ cache, trees: await storage.cleanupTrees() });
  };
}

/** `GET /readyz`: whether generations can be saved, by trying. The cloud does not matter for that. */
export function checkReady(storage: Storage): Handler {
  return async (c) => {
    try {
      await storage.tryWriting();
    } catch (cause) {
      const reason = toProblem(cause).detail;
      throw new StorageError('unavailable', reason, { cause });
    }
    return c.json({ status: 'ready' });
  };
}

/** `GET /metrics` */
export function showMetrics(storage: Storage, metrics: Metrics, log: Logger): Handler {
  const sizes = new Measured(
    () => storage.sizes(),
    (error) => log.warn(`Cannot measure what is kept: ${toProblem(error).detail}`),
  );
  return async (c) => {
    const [status, kept] = await Promise.all([storage.status(), sizes.value()]);
    const text = await metrics.render(status, kept, Date.now());
    return c.body(text, 200, { 'content-type': metrics.contentType });
  };
}
