import { fromDatabase, problems } from './errors.ts';
import { asUuid, type BucketRow, printTime } from './rows.ts';
import type { BucketInput, NewBucket } from './schemas.ts';
import type { Caller, Sessions } from './session.ts';

const COLUMNS = `id, name, owner, public, type, file_size_limit, allowed_mime_types, created_at,
  updated_at`;
const UNITS: Record<string, number> = { '': 1, B: 1, KB: 1e3, MB: 1e6, GB: 1e9 };
const NAME = /^(\w|!|-|\.|\*|'|\(|\)| |&|\$|@|=|;|:|\+|,|\?){1,63}$/;

/** Finds a bucket past row level security: what an upload or a listing asks the server to know. */
export async function getBucket(sessions: Sessions, id: string): Promise<BucketRow> {
  const row = await findBucket(sessions, id);
  if (row === null) throw problems.noSuchBucket();
  return row;
}

/** As {@link getBucket}; `null` where there is none. */
export async function findBucket(sessions: Sessions, id: string): Promise<BucketRow | null> {
  const rows = await sessions.asServer((transaction) =>
    transaction.query<BucketRow>(`select ${COLUMNS} from storage.buckets where id = $1`, [id]),
  );
  return rows.rows[0] ?? null;
}

export async function showBucket(sessions: Sessions, caller: Caller, id: string) {
  const rows = await sessions.as(caller, (transaction) =>
    transaction.query<BucketRow>(`select ${COLUMNS} from storage.buckets where id = $1`, [id]),
  );
  const row = rows.rows[0];
  if (row === undefined) throw problems.noSuchBucket();
  const { type: _, ...shown } = printBucket(row);
  return shown;
}

export async function listBuckets(sessions: Sessions, caller: Caller) {
  const rows = await sessions.as(caller, (transaction) =>
    transaction.query<BucketRow>(`select ${COLUMNS} from storage.buckets order by created_at`),
  );
  return rows.rows.map(printBucket);
}

export async function createBucket(sessions: Sessions, caller: Caller, input: NewBucket) {
  const id = input.id || input.name;
  if (!NAME.test(input.name) || !NAME.test(id)) throw problems.invalidBucketName();
  await sessions
    .as(caller, (transaction) =>
      transaction.query(
        `insert into storage.buckets (id, name, owner, owner_id, public, file_size_limit, allowed_mime_types)
         values ($1, $2, $3, $4, $5, $6, $7)`,
        [
          id,
          input.name,
          asUuid(caller.sub),
          caller.sub,
          input.public ?? false,
          parseSize(input.file_size_limit),
          input.allowed_mime_types ?? null,
        ],
      ),
    )
    .catch((error: unknown) => {
      throw fromDatabase(error, 'BucketAlreadyExists');
    });
  return { name: input.name };
}

export async function updateBucket(
  sessions: Sessions,
  caller: Caller,
  id: string,
  input: BucketInput,
) {
  const updated = await sessions.as(caller, (transaction) =>
    transaction.query(
      `update storage.buckets set
         public = coalesce($2, public),
         file_size_limit = case when $3 then $4 else file_size_limit end,
         allowed_mime_types = case when $5 then $6 else allowed_mime_types end,
         updated_at = now()
       where id = $1 returning id`,
      [
        id,
        input.public ?? null,
        input.file_size_limit !== undefined,
        parseSize(input.file_size_limit),
        input.allowed_mime_types !== undefined,
        input.allowed_mime_types ?? null,
      ],
    ),
  );
  if (updated.rows.length === 0) throw problems.noSuchBucket();
  return { message: 'Successfully updated' };
}

export async function deleteBucket(sessions: Sessions, caller: Caller, id: string) {
  // The role is set before the server looks, as itself, whether the bucket is there and empty.
  await sessions.as(caller, async () => {});
  await getBucket(sessions, id);
  const held = await sessions.asServer((transaction) =>
    transaction.query('select from storage.objects where bucket_id = $1 limit 1', [id]),
  );
  if (held.rows.length > 0) throw problems.notEmpty();
  const deleted = await sessions
    .as(caller, async (transaction) => {
      await transaction.query(`set local storage.allow_delete_query = 'true'`);
      return transaction.query('delete from storage.buckets where id = $1 returning id', [id]);
    })
    .catch((error: unknown) => {
      // An object came in the meantime.
      const holdsObjects = (error as { code?: unknown }).code === '23503';
      throw holdsObjects ? problems.notEmpty() : error;
    });
  if (deleted.rows.length === 0) throw problems.noSuchBucket();
  return { message: 'Successfully deleted' };
}

function printBucket(row: BucketRow) {
  return {
    id: row.id,
    name: row.name,
    owner: row.owner ?? '',
    public: row.public,
    type: row.type,
    file_size_limit: row.file_size_limit,
    allowed_mime_types: row.allowed_mime_types,
    created_at: printTime(row.created_at),
    updated_at: printTime(row.updated_at),
  };
}

/** Reads a limit given in bytes or as `50MB`. */
function parseSize(limit: number | string | null | undefined): number | null {
  if (limit === null || limit === undefined) return null;
  const match = /^(\d+(?:\.\d+)?)([kmg]?b)?$/i.exec(String(limit));
  if (match === null) throw problems.invalidRequest('body/file_size_limit is not a size');
  return Number(match[1]) * (UNITS[(match[2] ?? '').toUpperCase()] ?? 1);
}
