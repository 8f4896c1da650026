import * as v from 'valibot';

const shared = { url: v.pipe(v.string(), v.url()), region: v.string(), bucket: v.string() };

/** A bucket elsewhere with second copies, and the key by which it is read. */
const ReplicaSchema = v.variant('kind', [
  v.object({ ...shared, kind: v.literal('s3'), key_id: v.string(), secret: v.string() }),
  v.object({ ...shared, kind: v.literal('supabase'), secret: v.string() }),
]);
export type Replica = v.InferOutput<typeof ReplicaSchema>;

/** Those that the function may sign at, by the names that the database knows them by. */
export type Replicas = ReadonlyMap<string, Replica>;

/**
 * Reads `REPLICAS`: a JSON map. What is wrong with it is told, and keeps the function from nothing else.
 *
 * @returns none where it is not set, or cannot be used
 */
export function readReplicas(json: string | undefined): Replicas {
  if (!json) return new Map();
  try {
    return new Map(Object.entries(v.parse(v.record(v.string(), ReplicaSchema), JSON.parse(json))));
  } catch (error) {
    // Never the text itself: it holds keys.
    const where = error instanceof v.ValiError ? ` (${v.getDotPath(error.issues[0])})` : '';
    console.error(`REPLICAS is no map of replicas${where}: nothing is signed there`);
    return new Map();
  }
}
