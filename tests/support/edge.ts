import { inject } from 'vitest';
import { readEnvironment } from '../../functions/_shared/environment.ts';
import { createApp } from '../../functions/generations/app.ts';
import { createApp as createHostsApp } from '../../functions/hosts/app.ts';
import { functionEnvironment, type TestUser } from './cloud.ts';

/** Calls a path of the function `generations`, for example `/projects`. */
export type Call = (method: string, path: string, init?: RequestInit) => Promise<Response>;

/** The function in this process. */
export function callInProcess(environment: Record<string, string> = {}): Call {
  const app = createApp(readEnvironment({ ...functionEnvironment(), ...environment }));
  return async (method, path, init) =>
    app.request(`http://x/generations${path}`, { method, ...init });
}

/** The function in Deno, through the gateway, as a web app meets it. */
export function callGateway(): Call {
  const origin = `${inject('stack').SUPABASE_URL}/functions/v1/generations`;
  return (method, path, init) => fetch(`${origin}${path}`, { method, ...init });
}

/** The function `hosts` in Deno, through the gateway, as an agent meets it. */
export function callHosts(): Call {
  const origin = `${inject('stack').SUPABASE_URL}/functions/v1/hosts`;
  return (method, path, init) => fetch(`${origin}${path}`, { method, ...init });
}

/** The function `hosts` in this process. */
export function callHostsInProcess(): Call {
  const app = createHostsApp(readEnvironment(functionEnvironment()));
  return async (method, path, init) => app.request(`http://x/hosts${path}`, { method, ...init });
}

/** Both ways: one suite for the two. */
export const WAYS: [string, () => Call][] = [
  ['in process', callInProcess],
  ['in Deno, through the gateway', callGateway],
];

/** Calls as a user, with a JSON body where one is given. */
export function asUser(call: Call, user: TestUser) {
  return (method: string, path: string, body?: unknown): Promise<Response> =>
    call(method, path, {
      headers: { authorization: `Bearer ${user.token}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
}
