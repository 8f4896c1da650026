import type { SupabaseClient } from '@supabase/supabase-js';
import { StorageError } from '../_shared/contract/errors.ts';
import { callDatabase } from '../_shared/database.ts';
import type { ObjectPlace } from '../_shared/read-object.ts';
import { removeObjects } from '../_shared/remove-objects.ts';
import type { HostVariables } from './context.ts';

/** So much is done at once: hosts check in again. */
const AT_ONCE = { purged: 50, removed: 200, files: 8 } as const;

type Claimed = {
  project_id: string;
  revision: number;
  bucket: string | null;
  file: Record<string, unknown>;
};

/**
 * Does what no host with a key of its own may do, and somebody has to: what is due is purged, objects that nothing
 * needs are removed, the files of projects in the bucket are written. None of it is the host's wish, and none of it is
 * told to it.
 */
export async function keepHouse(c: {
  var: Pick<HostVariables, 'service' | 'keySha256'>;
}): Promise<void> {
  const { service } = c.var;
  const purged = await callDatabase<{ objects: ObjectPlace[] }>(
    service,
    'storage_purge',
    { p_limit: AT_ONCE.purged },
    'purge',
  );
  const unneeded = await callDatabase<ObjectPlace[]>(
    service,
    'storage_list_unneeded',
    { p_limit: AT_ONCE.removed },
    'list what is not needed',
  );
  const objects = [...purged.objects, ...unneeded];
  if (objects.length > 0) await removeObjects(service, objects, 'remove what is not needed');
  await writeProjectFiles(service);
}

async function writeProjectFiles(service: SupabaseClient): Promise<void> {
  const claimed = await callDatabase<Claimed[]>(
    service,
    'storage_claim_project_files',
    { p_limit: AT_ONCE.files },
    'ask which projects have changed',
  );
  const puts = await Promise.allSettled(
    claimed.map(async ({ project_id, bucket, file }) => {
      // Of a project that has no archive there is nothing to be restored.
      if (bucket === null) return;
      const text = `${JSON.stringify(file, null, 2)}\n`;
      const key = `${project_id}/project.json`;
      const options = { contentType: 'application/json', upsert: true };
      const { error } = await service.storage.from(bucket).upload(key, text, options);
      if (error !== null) {
        throw new StorageError('unavailable', `Cannot write "${key}"`, { cause: error });
      }
    }),
  );
  const p_items = claimed
    .filter((_, i) => puts[i]?.status === 'fulfilled')
    .map(({ project_id, revision }) => ({ project_id, revision }));
  if (p_items.length === 0) return;
  const doing = 'note which projects are written down';
  await callDatabase(service, 'storage_record_project_files', { p_items }, doing);
}
