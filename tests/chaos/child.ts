/** A host in a process of its own, which does what it is told and may be killed at any time. */
import type { StorageEvent } from '../../node-agent/events/events.ts';
import { openStorage, type RefInput } from '../../node-agent/index.ts';

/** What a host is told to do. */
export type Command =
  | { do: 'save'; ref: Required<RefInput>; text: string; ownerId: string; replace: boolean }
  | { do: 'delete' | 'undelete' | 'show' | 'get'; ref: RefInput }
  | { do: 'learn' | 'evict' | 'drain' | 'retry' | 'sweep' | 'purge' | 'status' | 'uploads' };

export type Settings = { storePath: string; cachePath: string; url: string; key: string };

const settings = JSON.parse(process.argv[2]!) as Settings;
const storage = await openStorage({
  storePath: settings.storePath,
  cloud: { url: settings.url, key: settings.key, bucket: 'codebegen-projects' },
  cache: { path: settings.cachePath, ttlMs: 1, maxAgeMs: 1, maxBytes: 1e9 },
  uploadConcurrency: 4,
  cleanupEveryMs: null,
  timeouts: { requestMs: 1500, transferMs: 2000, silenceMs: 1500 },
  onEvent: (event: StorageEvent) => process.send!({ event }),
});

async function carryOut(command: Command): Promise<unknown> {
  switch (command.do) {
    case 'save': {
      const { ref, text, ownerId, replace } = command;
      const files = { 'a.txt': text };
      const { digest } = await storage.save({ ...ref, files, ownerId, replace });
      return digest;
    }
    case 'delete':
      return storage.delete(command.ref);
    case 'undelete':
      return storage.undelete(command.ref);
    case 'show':
      return storage.show(command.ref);
    case 'get':
      return (await storage.get(command.ref)).manifest.digest;
    case 'learn':
      return storage.learnChanges();
    case 'evict':
      return storage.cleanupStore({ olderThanMs: 0 });
    case 'drain':
      // It ends before where nothing is due: on a busy machine it may take long.
      return storage.drain(30_000);
    case 'retry':
      return storage.retryParked();
    case 'sweep':
      return storage.removeUnneeded();
    case 'purge':
      return storage.purge();
    case 'uploads':
      return (await storage.uploads()).items.filter(({ parked }) => !parked);
    case 'status':
      return (await storage.status()).outbox;
  }
}

process.on('message', ({ id, command }: { id: number; command: Command }) => {
  carryOut(command).then(
    (value) => process.send!({ id, value: value ?? null }),
    (error: { code?: string; message?: string }) =>
      process.send!({ id, failure: error.code ?? 'internal', message: error.message }),
  );
});
process.send!({ ready: true });
