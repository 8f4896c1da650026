/** `npm run test:conformance`, as somebody runs it against a Supabase of theirs. */
import { expect, inject, test } from 'vitest';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { makeHost } from '../support/host-key.ts';
import { run } from '../support/run.ts';

const script = (args: string[], env: Record<string, string | undefined> = {}) =>
  run('npm', ['run', '--silent', 'test:conformance', '--', ...args], {
    env: {
      SUPABASE_URL: undefined,
      SUPABASE_SERVICE_KEY: undefined,
      SUPABASE_SECRET_KEY: undefined,
      HOST_KEY: undefined,
      ...env,
    },
  });

test('it runs against a URL with a key, shows no key, and leaves nothing behind', async () => {
  const { SUPABASE_URL, SUPABASE_SERVICE_KEY } = inject('stack');
  const buckets = async () =>
    (await serviceClient().storage.listBuckets()).data!.filter(({ name }) =>
      name.startsWith('conformance-'),
    );
  const { code, stdout, stderr } = await script(['--url', `${SUPABASE_URL}/`], {
    SUPABASE_SERVICE_KEY,
  });
  expect(code, stdout + stderr).toBe(0);
  expect(stdout).toMatch(/\n4\d passed, 0 failed\n/);
  expect(stdout + stderr).not.toContain(SUPABASE_SERVICE_KEY);
  const left = await buckets();
  // The suite may run beside this test, as one of `npm test`: that bucket is not ours.
  expect(left.length).toBeLessThanOrEqual(1);
});

test('by the key of a host alone the agent is tried', async () => {
  const bucket = uniqueId('bucket');
  const host = await makeHost({ bucket });
  const { SUPABASE_URL } = inject('stack');
  const args = ['--url', SUPABASE_URL, '--host-key', host.key, '--bucket', bucket];
  const { code, stdout, stderr } = await script(args);
  expect(code, stdout + stderr).toBe(0);
  expect(stdout).toMatch(/\n6 passed, 0 failed\n/);
  expect(stdout + stderr).not.toContain(host.key);
});

test.each([
  ['nothing', [], 'A URL and a service key are needed'],
  ['no key', ['--url', 'http://127.0.0.1:1'], 'A URL and a service key are needed'],
  ['a URL that is none', ['--url', 'here', '--service-key', 'k'], 'The URL is none'],
  ['an option that is none', ['--key', 'k'], '--key'],
])('with %s it says what it needs', async (_, args, message) => {
  const { code, stderr } = await script(args);
  expect(code).toBe(2);
  expect(stderr).toContain(message);
  expect(stderr).toContain('Usage: npm run test:conformance');
});
