import type { DatabaseSync } from 'node:sqlite';
import { StorageError } from '../contract.ts';

const SCHEMA = `
  create table projects (
    id text primary key,
    folded text not null unique,
    owner_id text,
    -- the highest version that the cloud is known to have
    cloud_version integer not null default 0,
    -- whether the cloud was asked for it
    looked_up integer not null default 0,
    -- what its folders looked like when all that lies in them was in here
    listed text,
    -- of when the link to the active generation was that the cloud was told of, or told; in milliseconds
    active_told integer,
    -- whether the cloud is to be told of it
    active_owed integer not null default 0
  ) strict, without rowid;

  create index projects_active_owed on projects (id) where active_owed = 1;

  create table generations (
    project_id text not null references projects (id),
    version integer not null,
    generation_id text not null,
    -- saving: promised, not yet in place; stored: in place; deleted: a tombstone is left
    state text not null check (state in ('saving', 'stored', 'deleted')),
    -- which instance is saving it, or changing it where it is stored
    instance_id text,
    -- how far it is on its way to the cloud
    status text not null default 'pending'
      check (status in ('pending', 'uploaded', 'verified', 'failed')),
    failure text,
    digest text,
    sha256 text,
    md5 text,
    archive_bytes integer,
    source_bytes integer,
    file_count integer,
    created_at text not null,
    uploaded_at text,
    -- the owner that was named with the save
    owner_id text,
    -- whether it took the place of other content
    is_replacement integer not null default 0,
    -- that the cloud gave; until then the key follows from the ref
    object_key text,
    -- the last keys that it gave for what was here before, of which a database that was put back is told: a JSON list
    earlier_keys text not null default '[]',
    -- what the cloud had when this took its place, until this is there
    replaced_digest text,
    -- what the cloud has under this name, where that is other content of another host
    cloud_digest text,
    -- up to which of its epochs in the database it was followed: what is told of an earlier one comes late
    cloud_epoch integer not null default 0,
    -- whether the version was chosen here without the cloud being asked
    provisional integer not null default 0,
    primary key (project_id, version)
  ) strict, without rowid;
  create index generations_by_id on generations (project_id, generation_id);
  create index generations_counted on generations (status) where state = 'stored';
  -- Each of what is mostly few or none. Queries name them: SQLite would rather read all that is
  -- stored, of which there are many.
  create index generations_old on generations (status) where state = 'stored' and digest is null;
  create index generations_saving on generations (project_id, version) where state = 'saving';
  create index generations_locked on generations (project_id, version) where instance_id is not null;
  create index generations_unsettled on generations (project_id, version)
    where sha256 is null and digest is not null and state = 'stored';

  create table meta (key text primary key, value text not null) strict, without rowid;

  create table jobs (
    id integer primary key,
    project_id text not null,
    version integer not null,
    step text not null check (step in ('reserve', 'upload', 'record', 'verify', 'fail', 'delete', 'undelete')),
    -- from when on it is owed
    since integer not null,
    attempts integer not null default 0,
    due_at integer not null,
    -- the instance that works on it
    leased_by text,
    parked integer not null default 0,
    failure text,
    -- where a resumable upload goes on
    upload_url text,
    -- the archive that is in the bucket and to be recorded
    uploaded_sha256 text,
    -- how often it had to go back to an earlier step
    setbacks integer not null default 0,
    -- the step at which it was given up
    given_up_at text
  ) strict;
  create index jobs_of_ref on jobs (project_id, version, id);
  create index jobs_due on jobs (step, parked, leased_by, due_at);
  create index jobs_leased on jobs (leased_by) where leased_by is not null;

  -- what happened, the last of it
  create table events (
    id integer primary key autoincrement,
    kind text not null,
    -- the event, as JSON in the form of the wire
    body text not null
  ) strict;

  -- what was done, by the minute and by the hour; times in milliseconds
  create table activity (
    minutes integer not null,
    start integer not null,
    saves integer not null,
    saved_bytes integer not null,
    save_ms integer not null,
    longest_save_ms integer not null,
    uploads integer not null,
    uploaded_bytes integer not null,
    upload_ms integer not null,
    longest_upload_ms integer not null,
    failures integer not null,
    deletions integer not null,
    primary key (minutes, start)
  ) strict, without rowid;

  -- what is owed to webhooks
  create table deliveries (
    id integer primary key autoincrement,
    webhook_id text not null,
    event_id text not null,
    body text not null,
    -- from when on it is owed
    since integer not null,
    attempts integer not null default 0,
    due_at integer not null,
    -- the instance that sends it
    leased_by text,
    parked integer not null default 0,
    failure text
  ) strict;
  create index deliveries_due on deliveries (webhook_id, parked, leased_by, due_at);
  create index deliveries_of_webhook on deliveries (webhook_id, id);
  create index deliveries_late on deliveries (due_at);
  create index deliveries_leased on deliveries (leased_by) where leased_by is not null;

  -- how the receivers of webhooks are, where they are or were not well
  create table receivers (
    webhook_id text primary key,
    failures integer not null default 0,
    wait_until integer not null default 0,
    failure text,
    dropped integer not null default 0
  ) strict, without rowid;
`;

const SCHEMA_VERSION = 17;

/**
 * Makes the tables where there are none. In a transaction of the caller's.
 *
 * @param path names the catalog in errors
 * @throws StorageError `corrupt` where it is of an older version of ours, `internal` of a newer one
 */
export function makeSchema(db: DatabaseSync, path: string): void {
  const { user_version: version } = db.prepare('pragma user_version').get() as {
    user_version: number;
  };
  if (version === SCHEMA_VERSION) return;
  if (version === 0) {
    db.exec(`${SCHEMA} pragma user_version = ${SCHEMA_VERSION};`);
    return;
  }
  const message = `Cannot open "${path}": it is of schema ${version}, this version of codebegen-storage knows ${SCHEMA_VERSION}`;
  if (version < SCHEMA_VERSION) throw new OlderSchema('corrupt', message);
  throw new StorageError('internal', message);
}

/** Thrown of a catalog that an older version made: what it knew is on disk, and read from there. */
export class OlderSchema extends StorageError {}
