/** `npm run stack`: the embedded stack alone, for development. */
import { parseArgs } from 'node:util';
import { onStop } from '../../node-agent/cli/signals.ts';
import { startStack } from './stack.ts';
import type { TokenAlgorithm } from './tokens.ts';

const USAGE = `Usage: npm run stack -- [options]

  --folder DIR           where it keeps its data (default storage/stack)
  --memory               keep nothing
  --port N               where it listens (default 54321; 0: any)
  --file-size-limit N    bytes of one object (default 50 MiB)
  --tokens ALGORITHM     how tokens of users are signed: ES256 (default) or HS256
  --json                 print its address and keys as one object`;

const values = readArguments();

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        folder: { type: 'string', default: 'storage/stack' },
        memory: { type: 'boolean', default: false },
        port: { type: 'string', default: '54321' },
        'file-size-limit': { type: 'string' },
        tokens: { type: 'string', default: 'ES256' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.tokens !== 'ES256' && values.tokens !== 'HS256') {
      throw new Error(`Cannot sign tokens with ${values.tokens}: it is ES256 or HS256`);
    }
    if (!values.help) return { ...values, tokens: values.tokens as TokenAlgorithm };
    console.log(USAGE);
    process.exit(0);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    process.exit(2);
  }
}

const starting = startStack({
  port: Number(values.port),
  tokens: values.tokens,
  ...(values['file-size-limit'] === undefined
    ? {}
    : { fileSizeLimit: Number(values['file-size-limit']) }),
  ...(values.memory ? {} : { folder: values.folder }),
});
onStop(async () => {
  await (await starting).close();
  return 0;
});
const stack = await starting;
const settings = {
  SUPABASE_URL: stack.url,
  SUPABASE_ANON_KEY: stack.keys.anonKey,
  SUPABASE_PUBLISHABLE_KEY: stack.keys.publishableKey,
  SUPABASE_SERVICE_KEY: stack.keys.serviceRoleKey,
  SUPABASE_SECRET_KEY: stack.keys.secretKey,
  JWT_SECRET: stack.keys.jwtSecret,
};
if (values.json) console.log(JSON.stringify(settings));
else {
  for (const [name, value] of Object.entries(settings)) console.log(`${name}=${value}`);
  console.error('\nThe stack is up. Ctrl-C ends it.');
}
