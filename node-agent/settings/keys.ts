import { isHostKey } from '../contract.ts';

/**
 * What is wrong with the keys to the cloud: a sentence each, and nothing of a value.
 *
 * @param secret the project's; empty: none
 * @param host of this host; empty: none
 */
export function findKeyProblems(secret: string, host: string): string[] {
  const problems: string[] = [];
  const role = roleOfKey(secret);
  if (role !== null) {
    problems.push(`SUPABASE_SERVICE_KEY is a key of "${role}": the agent needs the secret one`);
  }
  if (/[^\x21-\x7e]/.test(secret)) {
    problems.push('SUPABASE_SERVICE_KEY holds characters that no key has');
  }
  if (secret.startsWith('cbh_')) {
    problems.push('SUPABASE_SERVICE_KEY is the key of a host: set it as HOST_KEY');
  }
  if (host !== '' && !isHostKey(host)) {
    problems.push(
      'HOST_KEY is no key of a host: that is "cbh_" and 43 characters, as `hosts add` prints it',
    );
  }
  if (host !== '' && secret !== '') {
    problems.push(
      'HOST_KEY and SUPABASE_SERVICE_KEY are both set: a host with a key of its own does without the other, take one out',
    );
  }
  return problems;
}

/** Whose key it is, where it is one for the web; `null` for secret ones, and where that cannot be told. */
function roleOfKey(key: string): string | null {
  if (key.startsWith('sb_publishable_')) return 'publishable';
  const claims = /^[\w-]+\.([\w-]+)\.[\w-]*$/.exec(key)?.[1];
  if (claims === undefined) return null;
  try {
    const { role } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { role?: string };
    return role === 'anon' || role === 'authenticated' ? role : null;
  } catch {
    return null;
  }
}
