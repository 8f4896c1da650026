/** `npm run test:conformance -- --url URL --service-key KEY`: the suites against a real Supabase. */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

const USAGE = `Usage: npm run test:conformance -- --url URL --service-key KEY
       npm run test:conformance -- --url URL --host-key KEY [--bucket NAME]

Runs the conformance suites against the Supabase project at URL. With the service key: what Storage does, and what
an agent does, by that key and by one of a host, in buckets of their own that are removed again. With the key of a host: what an
agent does by it, in projects of their own in its bucket. SUPABASE_URL and SUPABASE_SERVICE_KEY (or SUPABASE_SECRET_KEY),
or HOST_KEY, do as well.`;

type Given = {
  url?: string;
  'service-key'?: string;
  'host-key'?: string;
  bucket?: string;
  help?: boolean;
};

process.exitCode = main();

function main(): number {
  let given: Given;
  try {
    given = parseArgs({
      options: {
        url: { type: 'string' },
        'service-key': { type: 'string' },
        'host-key': { type: 'string' },
        bucket: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  if (given.help) {
    console.log(USAGE);
    return 0;
  }
  const { SUPABASE_URL, SUPABASE_SERVICE_KEY, SUPABASE_SECRET_KEY, HOST_KEY } = process.env;
  const url = given.url ?? SUPABASE_URL;
  const hostKey = given['host-key'] ?? (given['service-key'] === undefined ? HOST_KEY : undefined);
  const key = hostKey
    ? undefined
    : (given['service-key'] ?? SUPABASE_SERVICE_KEY ?? SUPABASE_SECRET_KEY);
  if (!url || !URL.canParse(url) || !(key || hostKey)) {
    const isUrl = url && (key || hostKey);
    const state = isUrl
      ? 'The URL is none'
      : 'A URL and a service key are needed, or the key of a host';
    console.error(`${state}\n\n${USAGE}`);
    return 2;
  }
  const suites = ['tests/conformance/agent', ...(hostKey ? [] : ['tests/conformance/storage'])];
  const { status } = spawnSync('vitest', ['run', ...suites], {
    stdio: 'inherit',
    env: {
      ...process.env,
      CONFORMANCE_URL: url.replace(/\/+$/, ''),
      CONFORMANCE_SERVICE_KEY: key ?? '',
      CONFORMANCE_HOST_KEY: hostKey ?? '',
      CONFORMANCE_BUCKET: given.bucket ?? process.env.SUPABASE_BUCKET ?? '',
    },
  });
  return status ?? 1;
}
