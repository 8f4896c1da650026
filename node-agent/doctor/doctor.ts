import { existsSync } from 'node:fs';
import { useProxy } from '../cloud/proxy.ts';
import { type Config, readConfig } from '../config.ts';
import { StorageError } from '../contract.ts';
import { VARIABLES } from '../settings/variables.ts';
import { type Check, check, fail, type Outcome, pass, warn } from './check.ts';
import { checkCloud } from './cloud.ts';
import { checkFileLimit, checkFolder } from './folders.ts';
import { checkPermissions } from './permissions.ts';
import { checkService, UNIT } from './service.ts';
import { checkCatalog, checkLocks, checkProjects, checkRename } from './store.ts';

export type Diagnosis = Readonly<{
  /** Whether nothing failed. */
  ok: boolean;
  checks: Check[];
}>;

/**
 * Looks at everything that saving and uploading need, and tries it. Nothing is left of that.
 *
 * @param options.fix whether to close for other users what they can read
 * @param options.unit the file of the unit that runs the daemon
 */
export async function diagnose(
  env: Record<string, string | undefined>,
  { fix = false, unit = UNIT } = {},
): Promise<Diagnosis> {
  const { config, problem } = read(env);
  if (config?.proxy != null) useProxy(config.proxy);
  const checks = [
    await check('configuration', async () =>
      problem === null
        ? isAnythingSet(env)
          ? pass('every variable can be used')
          : warn(
              'nothing is set: no file of settings is here, and no variable of ours',
              'Run it in the folder where the .env is, or name that: --config',
            )
        : fail(problem, 'Set what it names; .env.example has every variable'),
    ),
  ];
  if (config !== null) checks.push(...(await checkAll(config, { fix, unit })));
  return { ok: checks.every(({ status }) => status !== 'fail'), checks };
}

async function checkAll(
  config: Config,
  { fix, unit }: { fix: boolean; unit: string },
): Promise<Check[]> {
  const { storePath, cache, cloud } = config;
  return [
    await check('store', () => checkKept(storePath, 'FILE_STORAGE_PATH', fix)),
    await check('file system', () => checkRename(storePath)),
    await check('locks', () => checkLocks(storePath)),
    await check('catalog', () => checkCatalog(storePath)),
    await check('projects', () => checkProjects(storePath)),
    ...(existsSync(unit) ? [await check('service', async () => checkService(unit, config))] : []),
    await check('open files', async () => checkFileLimit()),
    await check('cache', () => checkKept(cache.path, 'CACHE_PATH', fix)),
    ...(cloud === null
      ? [await check('cloud', async () => pass('it is off: generations stay on this host'))]
      : [await check('proxy', async () => checkProxy(config)), ...(await checkCloud(cloud))]),
  ];
}

/** Whether the way to the cloud is by a proxy, and by which. */
function checkProxy({ proxy }: Config): Outcome {
  if (proxy === null) return pass('none: neither HTTPS_PROXY nor HTTP_PROXY is set');
  const named = (['HTTPS_PROXY', 'HTTP_PROXY'] as const).flatMap((name) => {
    const url = proxy[name];
    // Without the password that it may have.
    return url === undefined ? [] : [`${name} leads by ${new URL(url).host}`];
  });
  return pass(`${named.join(', ')}; not for ${proxy.NO_PROXY}`);
}

function isAnythingSet(env: Record<string, string | undefined>): boolean {
  return VARIABLES.some((name) => env[name]?.trim());
}

/** Whether a folder can be used, and is for its owner alone. */
async function checkKept(path: string, variable: string, fix: boolean): Promise<Outcome> {
  const use = await checkFolder(path, variable);
  if (use.status !== 'pass') return use;
  const permissions = await checkPermissions(path, fix);
  return permissions.status === 'pass' ? use : permissions;
}

function read(env: Record<string, string | undefined>) {
  try {
    return { config: readConfig(env), problem: null };
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    return { config: null, problem: error.message };
  }
}
