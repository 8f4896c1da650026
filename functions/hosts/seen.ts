import type { SupabaseClient } from '@supabase/supabase-js';

/** In milliseconds; the database has the same minute, for all instances of the function. */
const ONCE_IN_MS = 60_000;
/** Of so many keys at most it is known when that was. */
const MOST = 1000;

/** Makes what notes that a key was used, at most once a minute. Nobody waits for it. */
export function noteSeen(service: SupabaseClient): (keySha256: string) => void {
  const notedAt = new Map<string, number>();
  return (keySha256) => {
    const now = performance.now();
    if (now - (notedAt.get(keySha256) ?? -ONCE_IN_MS) < ONCE_IN_MS) return;
    if (notedAt.size >= MOST) notedAt.clear();
    notedAt.set(keySha256, now);
    void service.rpc('storage_host_seen', { p_sha256: keySha256 }).then(
      () => {},
      () => {},
    );
  };
}
