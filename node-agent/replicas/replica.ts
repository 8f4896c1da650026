import { isAbsolute } from 'node:path';
import * as v from 'valibot';
import { StorageError } from '../contract.ts';

/** What replicas there are: a bucket of the S3 protocol, or of another Supabase project. */
export const REPLICA_KINDS = ['s3', 'supabase'] as const;

const NAME = /^[a-z0-9][a-z0-9-]{0,31}$/;
const REGION = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;
/** What S3 takes for a bucket that is made today, and Supabase does too. */
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const KEY_ID = /^[\x21-\x7e]{1,128}$/;
const MAX_URL = 2048;

const shared = {
  name: v.pipe(v.string(), v.regex(NAME)),
  /** Without a slash at its end. */
  url: v.pipe(v.string(), v.url()),
  region: v.pipe(v.string(), v.regex(REGION)),
  bucket: v.pipe(v.string(), v.regex(BUCKET)),
  /** Where the secret is: an absolute path. It is in no other place. */
  keyFile: v.string(),
};

/** A bucket elsewhere that is to have a copy of each verified archive: as it is kept, in a file of its own. */
export const ReplicaSchema = v.variant('kind', [
  /** @property keyId the access key's id, which is no secret; the secret access key is in the file */
  v.object({ ...shared, kind: v.literal('s3'), keyId: v.pipe(v.string(), v.regex(KEY_ID)) }),
  v.object({ ...shared, kind: v.literal('supabase') }),
]);

export type Replica = Readonly<v.InferOutput<typeof ReplicaSchema>>;

/** What a replica is made of. */
export type ReplicaInput = Readonly<{
  name: string;
  kind: string;
  url: string;
  region?: string;
  bucket: string;
  keyId?: string;
  keyFile: string;
}>;

/** @throws StorageError `invalid_input` */
export function createReplica(input: ReplicaInput): Replica {
  const { name, kind, bucket, keyFile, keyId } = input;
  if (!NAME.test(name)) {
    throw refused(
      `its name ${shown(name)} must be 1 to 32 of a-z, 0-9 and "-", and begin with a letter or digit`,
    );
  }
  const known = REPLICA_KINDS.find((one) => one === kind);
  if (known === undefined) {
    throw refused(`there is no kind ${shown(kind)}; there are ${REPLICA_KINDS.join(', ')}`);
  }
  if (!BUCKET.test(bucket)) {
    throw refused(`its bucket ${shown(bucket)} must be 3 to 63 of a-z, 0-9, "." and "-"`);
  }
  const { region } = input;
  if (region === undefined || !REGION.test(region)) {
    throw refused(
      `its region ${shown(region ?? '')} must be one, as "eu-central-1"; some take "auto"`,
    );
  }
  if (!isAbsolute(keyFile)) throw refused(`"${keyFile}" must be an absolute path`);
  const given = { name, url: parseUrl(input.url), region, bucket, keyFile };
  if (known === 'supabase') {
    if (keyId !== undefined) throw refused('one of Supabase has no key id');
    return { ...given, kind: known };
  }
  if (keyId === undefined || !KEY_ID.test(keyId)) {
    throw refused('one of S3 needs the id of its access key: --key-id');
  }
  return { ...given, kind: known, keyId };
}

function parseUrl(text: string): string {
  const url = text.length <= MAX_URL && URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw refused(`its URL must be one of https, with at most ${MAX_URL} characters`);
  }
  if (url.username + url.password !== '') {
    throw refused('its URL holds a user or a password: the secret goes into a file, --key-file');
  }
  if (url.search + url.hash !== '') throw refused('its URL has a query or a fragment');
  // A bucket on this machine, as of MinIO, is reached without TLS; any other would tell who listens.
  const isHere = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (url.protocol === 'http:' && !isHere) {
    throw refused('its URL is of http, by which anybody reads along: use https');
  }
  return url.href.replace(/\/+$/, '');
}

const shown = (text: string) => JSON.stringify(text.slice(0, 100));

const refused = (why: string) => new StorageError('invalid_input', `Cannot add a replica: ${why}`);
