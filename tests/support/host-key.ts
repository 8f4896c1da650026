/** Hosts with keys of their own, on the shared stack. */
import { hash, randomBytes, randomUUID } from 'node:crypto';
import { inject } from 'vitest';
import { formatHostKey, HOST_KEY_BYTES } from '../../node-agent/contract.ts';
import { serviceClient, uniqueId } from './cloud.ts';
import { type Call, callHosts } from './edge.ts';

export type TestHost = Readonly<{
  name: string;
  key: string;
  /** Calls a route of the function. */
  ask: (route: string, body: unknown) => Promise<{ status: number; body: Answer }>;
}>;

/** JSON of whatever shape: each test says what it expects. */
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Answer = any;

type Rights = Readonly<{
  read?: 'own' | 'all';
  delete?: 'none' | 'own';
  projects?: string[];
  expiresAt?: string | null;
  bucket?: string;
}>;

/** Calls a SQL function with the secret key. */
export async function sql(name: string, args: Record<string, unknown>): Promise<Answer> {
  const { data, error } = await serviceClient().rpc(name, args);
  if (error !== null) throw new Error(`${name}: ${error.message}`);
  return data;
}

export const makeKey = () => formatHostKey(randomBytes(HOST_KEY_BYTES).toString('base64url'));

/** A host that no other test knows. */
export async function makeHost(rights: Rights = {}, call: Call = callHosts()): Promise<TestHost> {
  const name = uniqueId('host');
  const key = makeKey();
  await sql('storage_add_host', {
    p_name: name,
    p_sha256: hash('sha256', key),
    p_read: rights.read ?? 'own',
    p_delete: rights.delete ?? 'own',
    p_projects: rights.projects ?? [],
    p_expires_at: rights.expiresAt ?? null,
    p_bucket: rights.bucket ?? 'codebegen-projects',
  });
  return { name, key, ask: askWith(key, call) };
}

/** Asks with a key, whatever it is; `null`: with none. */
export function askWith(key: string | null, call: Call = callHosts()): TestHost['ask'] {
  return async (route, body) => {
    const answer = await call('POST', route, {
      headers: {
        'content-type': 'application/json',
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    return { status: answer.status, body: await answer.json() };
  };
}

/** A generation as a host is to save it: every value is one that nothing else has. */
export function makeItem(projectId: string, version = 1, more: Record<string, unknown> = {}) {
  const bytes = randomBytes(40);
  return {
    bytes,
    hostId: randomUUID(),
    item: {
      project_id: projectId,
      version,
      generation_id: uniqueId('gen'),
      digest: randomBytes(32).toString('hex'),
      sha256: hash('sha256', bytes),
      md5: hash('md5', bytes),
      archive_bytes: bytes.length,
      source_bytes: 1,
      file_count: 1,
      created_at: '2026-11-01T00:00:00.000Z',
      owner_id: null as string | null,
      ...more,
    },
  };
}

export type MadeItem = ReturnType<typeof makeItem>;

/** What is said of it once it was sent. */
export const recordOf = ({ item }: MadeItem, objectKey: string, more: object = {}) => ({
  project_id: item.project_id,
  version: item.version,
  status: 'uploaded',
  object_key: objectKey,
  digest: item.digest,
  sha256: item.sha256,
  md5: item.md5,
  manifest: { schema: 2, metadata: {} },
  block_index: null,
  ...more,
});

/** Sends the bytes with a token, as a host does. */
export function put(
  upload: { bucket: string; object_key: string; token: string },
  bytes: Buffer,
  objectKey = upload.object_key,
): Promise<Response> {
  const path = `/storage/v1/object/upload/sign/${upload.bucket}/${objectKey}`;
  return fetch(`${inject('stack').SUPABASE_URL}${path}?token=${upload.token}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/gzip' },
    body: new Uint8Array(bytes),
  });
}

/** Reserves, sends and records, as a host does. @returns its key in the bucket */
export async function saveAs(host: TestHost, made: MadeItem): Promise<string> {
  const reserved = await host.ask('/reserve', { host_id: made.hostId, items: [made.item] });
  const [answer] = reserved.body.items ?? [];
  if (answer?.upload == null) throw new Error(JSON.stringify(reserved));
  const sent = await put(answer.upload, made.bytes);
  if (!sent.ok) throw new Error(await sent.text());
  const recorded = await host.ask('/record', { items: [recordOf(made, answer.object_key)] });
  if (recorded.body.items?.[0]?.status !== 'verified') throw new Error(JSON.stringify(recorded));
  return answer.object_key;
}
