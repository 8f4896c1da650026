/** `npm run test:conformance -- --url URL --service-key KEY`: the suite against a real Supabase. */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

const USAGE = `Usage: npm run test:conformance -- --url URL --service-key KEY

Runs the conformance suite against the Supabase project at URL, in a bucket of its own that it
removes again. SUPABASE_URL and SUPABASE_SERVICE_KEY (or SUPABASE_SECRET_KEY) do as well.`;

process.exitCode = main();

function main(): number {
  let given: { url?: string; 'service-key'?: string; help?: boolean };
  try {
    given = parseArgs({
      options: {
        url: { type: 'string' },
        'service-key': { type: 'string' },
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
  const { SUPABASE_URL, SUPABASE_SERVICE_KEY, SUPABASE_SECRET_KEY } = process.env;
  const url = given.url ?? SUPABASE_URL;
  const key = given['service-key'] ?? SUPABASE_SERVICE_KEY ?? SUPABASE_SECRET_KEY;
  if (!url || !URL.canParse(url) || !key) {
    console.error(
      `${url && key ? 'The URL is none' : 'A URL and a service key are needed'}\n\n${USAGE}`,
    );
    return 2;
  }
  const { status } = spawnSync('vitest', ['run', 'tests/conformance'], {
    stdio: 'inherit',
    env: {
      ...process.env,
      CONFORMANCE_URL: url.replace(/\/+$/, ''),
      CONFORMANCE_SERVICE_KEY: key,
    },
  });
  return status ?? 1;
}
