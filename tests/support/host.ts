import { inject } from 'vitest';
import { uniqueId } from './cloud.ts';
import { tempFolder } from './temp.ts';

type HostEnvironment = Record<
  | 'USE_CLOUD_STORAGE'
  | 'SUPABASE_URL'
  | 'SUPABASE_SERVICE_KEY'
  | 'SUPABASE_BUCKET'
  | 'FILE_STORAGE_PATH'
  | 'CACHE_PATH',
  string
>;

/** The environment of a host of its own, with the shared stack as its cloud and a bucket of its own. */
export async function hostEnvironment(
  more: Record<string, string> = {},
): Promise<HostEnvironment & Record<string, string>> {
  const { SUPABASE_URL, SUPABASE_SERVICE_KEY } = inject('stack');
  return {
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL,
    SUPABASE_SERVICE_KEY,
    SUPABASE_BUCKET: uniqueId('bucket'),
    FILE_STORAGE_PATH: await tempFolder(),
    CACHE_PATH: await tempFolder(),
    ...more,
  };
}
