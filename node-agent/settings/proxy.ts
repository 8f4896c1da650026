/** The way out of a network that has one: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, as curl takes them. */
import type { ProxySettings } from '../cloud/proxy.ts';

/** What is on this host is never asked for by a proxy. */
const HERE = ['localhost', '127.0.0.1', '::1', '[::1]'];

/**
 * Reads what the environment says of proxies, in capitals or not.
 *
 * @param problems what is wrong with it, added; nothing of a value, which may hold a password
 * @returns `null` where there is none
 */
export function readProxy(
  env: Readonly<Record<string, string | undefined>>,
  problems: string[],
): ProxySettings | null {
  const find = (name: string) => env[name.toLowerCase()]?.trim() || env[name]?.trim() || undefined;
  const urlOf = (name: string) => {
    const text = find(name);
    if (text === undefined) return {};
    const url = text.includes('://') ? text : `http://${text}`;
    const isUsable = URL.canParse(url) && /^https?:$/.test(new URL(url).protocol);
    if (!isUsable) problems.push(`${name} must be the http or https URL of a proxy`);
    return { [name]: url };
  };
  const proxies = { ...urlOf('HTTP_PROXY'), ...urlOf('HTTPS_PROXY') };
  if (Object.keys(proxies).length === 0) return null;
  return { ...proxies, NO_PROXY: [find('NO_PROXY'), ...HERE].filter(Boolean).join(',') };
}
