import { problems } from './errors.ts';
import { OBJECT_COLUMNS, type ObjectRow, printTime } from './rows.ts';
import type { ListInput, ListV2Input } from './schemas.ts';
import type { Caller, Sessions } from './session.ts';

const NO_ROW = {
  id: null,
  updated_at: null,
  created_at: null,
  last_accessed_at: null,
  metadata: null,
};

/** `list` v1: one folder, by offset; a folder in it shows as a row without an id. */
export async function listFolder(
  sessions: Sessions,
  caller: Caller,
  bucket: string,
  input: ListInput,
) {
  const folder = asFolder(input.prefix);
  const { column, order = 'asc' } = input.sortBy ?? { column: 'name' };
  const result = await sessions.as(caller, (transaction) =>
    transaction.query<Omit<ObjectRow, 'id'> & { id: string | null }>(
      `with hits as (
         select *, substr(name, length($2) + 1) as rest from storage.objects
         where bucket_id = $1 and starts_with(name, $2)
       ), shown as (
         select rest as name, id, updated_at, created_at, last_accessed_at, metadata
         from hits where position('/' in rest) = 0 and rest <> ''
         union all
         select distinct split_part(rest, '/', 1), null::uuid, null::timestamptz,
           null::timestamptz, null::timestamptz, null::jsonb
         from hits where position('/' in rest) > 1
       )
       select * from shown where starts_with(lower(name), lower($3))
       order by ${column === 'name' ? '' : '(id is null) desc,'} ${column} ${order}, name
       limit $4 offset $5`,
      [bucket, folder, input.search ?? '', input.limit ?? 100, input.offset ?? 0],
    ),
  );
  return result.rows.map((row) =>
    row.id === null ? { name: row.name, ...NO_ROW } : printListed(row),
  );
}

/** `list-v2`: by cursor, with or without folders. */
export async function listObjects(
  sessions: Sessions,
  caller: Caller,
  bucket: string,
  input: ListV2Input,
) {
  const prefix = input.prefix ?? '';
  const limit = Math.min(input.limit ?? 1000, 1000);
  const after = input.cursor === undefined ? '' : parseCursor(input.cursor);
  const result = await sessions.as(caller, (transaction) =>
    transaction.query<ObjectRow & { folder: string | null }>(
      `with hits as (
         select ${OBJECT_COLUMNS},
           case when $4 and position('/' in substr(name, length($2) + 1)) > 0
             then $2 || split_part(substr(name, length($2) + 1), '/', 1) || '/' end as folder
         from storage.objects where bucket_id = $1 and starts_with(name, $2)
       ), shown as (
         select coalesce(folder, name) collate "C" as entry, * from hits
       )
       select distinct on (entry) * from shown where entry > $3 order by entry limit $5`,
      [bucket, prefix, after, input.with_delimiter ?? false, limit + 1],
    ),
  );
  const page = result.rows.slice(0, limit);
  const last = page.at(-1);
  const hasNext = result.rows.length > limit;
  const lastKey = last?.folder ?? last?.name ?? '';
  return {
    hasNext,
    ...(hasNext
      ? { nextCursor: makeCursor(lastKey, input.cursor !== undefined), nextCursorKey: lastKey }
      : {}),
    folders: page
      .filter((row) => row.folder !== null)
      .map((row) => ({ key: lastPart(row.folder!), name: row.folder, ...NO_ROW })),
    objects: page
      .filter((row) => row.folder === null)
      .map((row) => ({
        key: lastPart(row.name),
        ...printListed(row),
        name: row.name,
      })),
  };
}

function printListed(row: Omit<ObjectRow, 'id'> & { id: string | null }) {
  return {
    name: row.name,
    id: row.id,
    updated_at: printTime(row.updated_at),
    created_at: printTime(row.created_at),
    last_accessed_at: printTime(row.last_accessed_at),
    metadata: row.metadata,
  };
}

function asFolder(prefix: string): string {
  return prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`;
}

function lastPart(key: string): string {
  return key.replace(/\/$/, '').split('/').at(-1) ?? key;
}

/** The real server writes the order down from the second page on. */
function makeCursor(key: string, continued: boolean): string {
  return Buffer.from(`l:${key}${continued ? '\no:asc' : ''}`).toString('base64');
}

function parseCursor(cursor: string): string {
  const text = Buffer.from(cursor, 'base64').toString('utf8');
  if (!text.startsWith('l:')) throw problems.invalidParameter('continuation token');
  return text.slice(2).split('\n')[0] ?? '';
}
