import { type Config, readConfig } from '../config.ts';
import { StorageError } from '../contract.ts';
import { type Check, check, fail, pass } from './check.ts';
import { checkCloud } from './cloud.ts';
import { checkFolder, checkOneFileSystem } from './folders.ts';

export type Diagnosis = Readonly<{
  /** Whether nothing failed. */
  ok: boolean;
  checks: Check[];
}>;

/** Looks at everything that saving and uploading need, and tries it. Nothing is left of that. */
export async function diagnose(env: Record<string, string | undefined>): Promise<Diagnosis> {
  const { config, problem } = read(env);
  const checks = [
    await check('configuration', async () =>
      problem === null
        ? pass('every variable can be used')
        : fail(problem, 'Set what it names; .env.example has every variable'),
    ),
  ];
  if (config !== null) checks.push(...(await checkAll(config)));
  return { ok: checks.every(({ status }) => status !== 'fail'), checks };
}

async function checkAll(config: Config): Promise<Check[]> {
  const { storePath, cache, cloud } = config;
  return [
    await check('store', () => checkFolder(storePath, 'FILE_STORAGE_PATH')),
    await check('file system', () => checkOneFileSystem(storePath)),
    await check('cache', () => checkFolder(cache.path, 'CACHE_PATH')),
    ...(cloud === null
      ? [await check('cloud', async () => pass('it is off: generations stay on this host'))]
      : await checkCloud(cloud)),
  ];
}

function read(env: Record<string, string | undefined>) {
  try {
    return { config: readConfig(env), problem: null };
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    return { config: null, problem: error.message };
  }
}
