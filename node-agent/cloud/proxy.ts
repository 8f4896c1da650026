import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { StorageError } from '../contract.ts';

/** Which proxy is used for what, under the names that Node takes. */
export type ProxySettings = Readonly<{
  HTTP_PROXY?: string;
  HTTPS_PROXY?: string;
  NO_PROXY: string;
}>;

/** Under which the threads of this process find it. */
const NAME = 'codebegen-storage-proxy';

/**
 * Has every request of this process, and of the threads that it starts from here on, go by a proxy. For a
 * process that is ours alone.
 *
 * @throws StorageError `invalid_input` where this Node cannot
 */
export function useProxy(settings: ProxySettings): void {
  setEnvironmentData(NAME, settings);
  apply(settings);
}

/** The same in a thread, as the process does it. */
export function useProxyOfProcess(): void {
  const settings = getEnvironmentData(NAME) as ProxySettings | undefined;
  if (settings !== undefined) apply(settings);
}

function apply(settings: ProxySettings): void {
  // An import would load all that it can do, which takes a tenth of a command's start.
  const { setGlobalProxyFromEnv } = process.getBuiltinModule('node:http') as {
    setGlobalProxyFromEnv?: (env: object) => unknown;
  };
  if (setGlobalProxyFromEnv === undefined) {
    const message = `Cannot use a proxy: Node ${process.version} has no way to; use a newer one, or take HTTPS_PROXY and HTTP_PROXY out`;
    throw new StorageError('invalid_input', message);
  }
  setGlobalProxyFromEnv(settings);
}
