/** The names of variables, and what is often wrong with what they hold. */

/** Every variable that is read. */
export const VARIABLES = [
  'USE_CLOUD_STORAGE',
  'SUPABASE_URL',
  'HOST_KEY',
  'HOST_KEY_FILE',
  'SUPABASE_SERVICE_KEY',
  'SUPABASE_SERVICE_KEY_FILE',
  'SUPABASE_SECRET_KEY',
  'SUPABASE_SECRET_KEY_FILE',
  'SUPABASE_BUCKET',
  'FILE_STORAGE_PATH',
  'UPLOAD_CONCURRENCY',
  'CACHE_PATH',
  'CACHE_TTL_HOURS',
  'MAX_CACHE_AGE_HOURS',
  'CACHE_MAX_BYTES',
  'SCRUB_DAYS',
  'CDN_URL',
  'AUTO_CLEANUP_ENABLED',
  'CLEANUP_INTERVAL_HOURS',
  'AGENT_HOST',
  'AGENT_PORT',
  'AGENT_PUBLIC_URL',
  'AGENT_TOKEN',
  'AGENT_TOKEN_FILE',
  'AGENT_ADMIN_TOKEN',
  'AGENT_ADMIN_TOKEN_FILE',
  'LOG_LEVEL',
] as const;

/** What is nearly one of these may well be somebody else's. */
const COMMON: ReadonlySet<string> = new Set([
  'AGENT_HOST',
  'AGENT_PORT',
  'CACHE_PATH',
  'HOST_KEY',
  'HOST_KEY_FILE',
  'LOG_LEVEL',
]);
/** As others call them. */
const OTHER_NAMES: Readonly<Record<string, (typeof VARIABLES)[number]>> = {
  SUPABASE_SERVICE_ROLE_KEY: 'SUPABASE_SERVICE_KEY',
  SUPABASE_BUCKET_NAME: 'SUPABASE_BUCKET',
  STORAGE_BUCKET: 'SUPABASE_BUCKET',
};
const PATHS = /_(PATH|FILE)$/;

/**
 * What is wrong with the variables of an environment, whatever they mean: a sentence each, that names the
 * variable and nothing of its value.
 */
export function findProblems(env: Readonly<Record<string, string | undefined>>): string[] {
  const problems: string[] = [];
  for (const name of VARIABLES) {
    const value = env[name]?.trim() ?? '';
    if (/^(["']).*\1$/.test(value)) {
      problems.push(`${name} has quotes around its value: take them off`);
    } else if (PATHS.test(name) && value.startsWith('~')) {
      problems.push(`${name} begins with "~", which only a shell reads: write the whole path`);
    }
  }
  for (const name of Object.keys(env)) {
    const meant = findMeant(name);
    if (meant !== null && !env[meant]?.trim()) {
      problems.push(`${name} is nothing that is read: ${meant} is`);
    }
  }
  return problems;
}

/** The variable that a name is nearly; `null` for others, and for ours. */
function findMeant(name: string): string | null {
  if (VARIABLES.some((known) => known === name)) return null;
  const other = OTHER_NAMES[name];
  if (other !== undefined) return other;
  return VARIABLES.find((known) => !COMMON.has(known) && isAlike(name, known)) ?? null;
}

/** Whether two names differ in their case alone, or by one letter that is missing, too many, other or swapped. */
function isAlike(name: string, known: string): boolean {
  const [a, b] = [name.toUpperCase(), known];
  if (Math.abs(a.length - b.length) > 1) return false;
  let begin = 0;
  while (begin < a.length && a[begin] === b[begin]) begin++;
  let end = 0;
  while (end < a.length - begin && a.at(-1 - end) === b.at(-1 - end)) end++;
  const rest = [a, b].map((text) => text.slice(begin, Math.max(begin, text.length - end)));
  const [left = '', right = ''] = rest;
  if (left.length <= 1 && right.length <= 1) return true;
  return left.length === 2 && left === `${right[1]}${right[0]}`;
}
