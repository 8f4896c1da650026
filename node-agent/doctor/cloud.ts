/** Whether the Supabase project is there, ours, and set up. */
import { randomUUID } from 'node:crypto';
import { createClient, type SupabaseClient } from '@supabase/supabase-js';
import type { CloudSettings } from '../cloud/connection.ts';
import { ARCHIVE_TYPE, isHostKey } from '../contract.ts';
import { type Check, check, fail, type Outcome, pass, warn } from './check.ts';
import { fetchInTime } from './fetch-in-time.ts';
import { checkHostKey, checkHostRoundTrip } from './host-key.ts';
import { type Steps, tryAll } from './round-trip.ts';

/** A clock that is off by more makes signed URLs end too soon or too late; by much more, tokens. */
const SKEW_WARN_MS = 30_000;
const SKEW_FAIL_MS = 300_000;
/** What a bucket takes on the free plan. */
const LITTLE_BYTES = 50 * 1024 * 1024;
const KEY_PAGE = 'the API settings of the dashboard';

/** Everything about the cloud, in the order in which one thing needs the other. */
export async function checkCloud(settings: CloudSettings): Promise<Check[]> {
  const reached = await check('project', () => checkProject(settings));
  const done = [reached];
  const next = async (name: string, look: () => Promise<Outcome>) => {
    const isBlocked = done.some(({ status, name }) => status === 'fail' && BLOCKING.has(name));
    const blocked = warn('not tried, for what failed before', 'Mend that first');
    done.push(await check(name, isBlocked ? async () => blocked : look));
  };
  await next('clock', () => checkClock(settings));
  if (isHostKey(settings.key)) {
    await next('key', () => checkHostKey(settings));
    await next('function', () => checkFunction(settings));
    await next('round trip', () => checkHostRoundTrip(settings));
    return done;
  }
  const client = createClient(settings.url, settings.key, {
    auth: { persistSession: false, autoRefreshToken: false },
    global: { fetch: fetchInTime },
  });
  await next('key', () => checkKey(client));
  await next('migrations', () => checkMigrations(client));
  await next('bucket', () => checkBucket(settings, client));
  await next('function', () => checkFunction(settings));
  await next('host key', () => checkWithoutHostKey(settings));
  await next('round trip', () => checkRoundTrip(settings, client));
  return done;
}

const BLOCKING = new Set(['project', 'key']);
/** What is refused for the plan, or for a project that is paused, is no matter of the key. */
const PLAN = new Set([402, 540]);

async function checkProject({ url }: CloudSettings): Promise<Outcome> {
  try {
    const { status } = await fetchInTime(`${url}/storage/v1/status`);
    if (status < 500) return pass(`${url} answers`);
    return fail(
      `${url} answers ${status}`,
      'Look at the project in the dashboard: it may be paused',
    );
  } catch (error) {
    const { code, message } = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
    return fail(
      `${url} is out of reach: ${code ?? message}`,
      'Check SUPABASE_URL, and this host’s network and proxy',
    );
  }
}

async function checkClock({ url }: CloudSettings): Promise<Outcome> {
  const answer = await fetchInTime(`${url}/storage/v1/status`);
  const date = Date.parse(answer.headers.get('date') ?? '');
  if (Number.isNaN(date)) return pass('the project does not say what time it is');
  const skew = Math.abs(Date.now() - date);
  const why = `this clock and the project's differ by ${Math.round(skew / 1000)} s`;
  if (skew < SKEW_WARN_MS) return pass(why);
  return (skew < SKEW_FAIL_MS ? warn : fail)(why, 'Set this host’s clock, by NTP for example');
}

async function checkKey(client: SupabaseClient): Promise<Outcome> {
  const getSecret = `Take the secret key (sb_secret_…), or the service role's, from ${KEY_PAGE}`;
  // What the service role may, and nobody else.
  const { error, status } = await client.storage.listBuckets().then(({ error }) => ({
    error,
    status: Number((error as { statusCode?: string } | null)?.statusCode ?? 0),
  }));
  if (error === null) return pass('it is taken, as a secret key');
  const why = `it is refused (${status || error.name}: ${error.message})`;
  if (!PLAN.has(status)) return fail(why, getSecret);
  return fail(
    why,
    'Look at the plan and the state of the project in the dashboard: it may be paused',
  );
}

async function checkMigrations(client: SupabaseClient): Promise<Outcome> {
  const push = 'Run: npx supabase db push --remote="$DATABASE_URL" (docs/setup.md)';
  const { error } = await client.rpc('storage_list_changes', { p_limit: 1 });
  if (error === null) return pass('they are applied');
  if (error.code === 'PGRST202' || error.code === '42883')
    return fail('they are not applied', push);
  if (error.code === '42501') return fail('the key may not call them', 'Use the secret key');
  return fail(`the database answered ${error.code || 'nothing'}`, push);
}

async function checkBucket({ bucket }: CloudSettings, client: SupabaseClient): Promise<Outcome> {
  const { data, error } = await client.storage.getBucket(bucket);
  if (error !== null) {
    const other = await findOther(bucket, client);
    if (other !== null) return isElsewhere(`there is no bucket "${bucket}" yet`, other);
    return warn(
      `there is no bucket "${bucket}" yet`,
      'Nothing: the first upload makes it, private',
    );
  }
  if (data.public) {
    return fail(
      `"${bucket}" is public: everybody reads everything`,
      'Make it private in the dashboard, now',
    );
  }
  const types = data.allowed_mime_types ?? null;
  if (
    types !== null &&
    ![ARCHIVE_TYPE, 'application/*', '*/*'].some((type) => types.includes(type))
  ) {
    return fail(`"${bucket}" refuses ${ARCHIVE_TYPE}`, 'Allow that type in its settings');
  }
  if (
    types !== null &&
    !['application/json', 'application/*', '*/*'].some((type) => types.includes(type))
  ) {
    return warn(
      `"${bucket}" refuses application/json, so that nothing is written down there of projects`,
      'Allow that type in its settings: a restore without the database goes by it',
    );
  }
  const limit = data.file_size_limit ?? null;
  if (limit !== null && limit < LITTLE_BYTES) {
    return warn(
      `"${bucket}" takes ${limit} bytes an archive at most`,
      'Raise its limit, or larger generations are parked',
    );
  }
  const other = (await isEmpty(bucket, client)) ? await findOther(bucket, client) : null;
  if (other !== null) return isElsewhere(`"${bucket}" holds nothing`, other);
  const most = limit === null ? '' : `, and takes ${limit} bytes an archive at most`;
  return pass(`"${bucket}" is there, and private${most}`);
}

function isElsewhere(state: string, other: string): Outcome {
  return warn(
    `${state}, and "${other}" holds generations`,
    `Set SUPABASE_BUCKET=${other}, where that is the one; else nothing: the first upload goes into the new one`,
  );
}

/** Buckets and projects that are looked into: one with data is enough. */
const LOOKED_INTO = 20;

/** Another bucket that holds generations, of ours or of the Python system; `null` where none is found. */
async function findOther(bucket: string, client: SupabaseClient): Promise<string | null> {
  const { data: rows } = await client
    .from('storage_generations')
    .select('bucket')
    .neq('bucket', bucket)
    .is('deleted_at', null)
    .limit(1);
  const [row] = (rows ?? []) as { bucket: string }[];
  if (row !== undefined) return row.bucket;
  const { data: buckets } = await client.storage.listBuckets();
  const others = (buckets ?? []).filter(({ name }) => name !== bucket).slice(0, LOOKED_INTO);
  for (const { name } of others) if (!(await isEmpty(name, client))) return name;
  return null;
}

/** Whether no project in a bucket has a generation, of the first that there are. */
async function isEmpty(bucket: string, client: SupabaseClient): Promise<boolean> {
  const storage = client.storage.from(bucket);
  const { data: projects } = await storage.list('', { limit: LOOKED_INTO });
  for (const { id, name } of projects ?? []) {
    // A folder has no id.
    if (id !== null) continue;
    const { data } = await storage.list(`${name}/generations`, { limit: 1 });
    if (data?.some((object) => object.name.endsWith('.tar.gz'))) return false;
  }
  return true;
}

async function checkFunction({ url }: CloudSettings): Promise<Outcome> {
  const deploy = `Run: npx supabase functions deploy generations hosts --use-api --remote=${refOf(url)} (docs/setup.md)`;
  const base = `${url}/functions/v1/generations`;
  const health = await fetchInTime(`${base}/health`);
  const body = (await health.json().catch(() => null)) as { status?: string } | null;
  if (body?.status !== 'ok') return fail(`it answers ${health.status}`, deploy);
  const refused = await fetchInTime(`${base}/projects`);
  const problem = (await refused.json().catch(() => null)) as { code?: string } | null;
  if (refused.status === 401 && problem?.code === 'unauthenticated') {
    return pass('it is deployed, and refuses who has no token');
  }
  return fail(
    `it answers ${refused.status} to who has no token`,
    `${deploy}, with verify_jwt = false`,
  );
}

/** Whether this host could do without the secret key. */
async function checkWithoutHostKey({ url }: CloudSettings): Promise<Outcome> {
  const health = await fetchInTime(`${url}/functions/v1/hosts/health`);
  const body = (await health.json().catch(() => null)) as { status?: string } | null;
  const state = 'the secret key of the project lies on this host, and opens everything';
  return warn(
    state,
    body?.status === 'ok'
      ? 'Where it generates, give it a key of its own: codebegen-storage hosts add (docs/security.md)'
      : `Where it generates, give it a key of its own, once the function \`hosts\` is there: npx supabase functions deploy generations hosts --use-api --remote=${refOf(url)}`,
  );
}

/** The 20 letters that a hosted project's address begins with. */
function refOf(url: string): string {
  return /^https:\/\/([a-z]{20})\.supabase\.co$/.exec(url)?.[1] ?? '"$PROJECT_REF"';
}

/** What an upload and a download do, with a scratch object: nothing is left of it. */
async function checkRoundTrip({ bucket }: CloudSettings, client: SupabaseClient): Promise<Outcome> {
  if ((await client.storage.getBucket(bucket)).error !== null) {
    return warn('not tried: there is no bucket yet', 'Save something, and run it again');
  }
  const folder = `.doctor-${randomUUID()}`;
  const key = `${folder}/scratch.gz`;
  const bytes = Buffer.from(`doctor ${randomUUID()}`);
  const storage = client.storage.from(bucket);
  const steps: Steps = [
    ['find nothing where nothing is', async () => (await storage.info(key)).error !== null],
    [
      'put',
      async () => (await storage.upload(key, bytes, { contentType: ARCHIVE_TYPE })).error === null,
    ],
    ['stat', async () => (await storage.info(key)).data?.size === bytes.length],
    ['refuse to put twice', async () => (await storage.upload(key, 'other')).error !== null],
    ['list', async () => (await storage.list(folder)).data?.[0]?.name === 'scratch.gz'],
    ['sign and get', async () => equals(await getSigned(storage, key), bytes)],
    [
      'get a range',
      async () => equals(await getSigned(storage, key, 'bytes=0-5'), bytes.subarray(0, 6)),
    ],
    ['remove', async () => (await storage.remove([key])).error === null],
    ['find nothing again', async () => (await storage.info(key)).error !== null],
  ];
  return tryAll(steps, () => storage.remove([key]));
}

async function getSigned(
  storage: ReturnType<SupabaseClient['storage']['from']>,
  key: string,
  range?: string,
): Promise<Buffer> {
  const { data } = await storage.createSignedUrl(key, 60);
  const headers = new Headers(range === undefined ? [] : [['range', range]]);
  const answer = await fetchInTime(data?.signedUrl ?? '', { headers });
  return Buffer.from(await answer.arrayBuffer());
}

function equals(one: Buffer, other: Buffer): boolean {
  return one.equals(other);
}
