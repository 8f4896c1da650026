/** Keys of hosts, where this daemon has the secret key of the project. */
import type { Context, Handler, MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type * as v from 'valibot';
import type { DaemonConfig } from '../config.ts';
import { parseHostName, parseId, StorageError, validate } from '../contract.ts';
import type { Storage } from '../storage/storage.ts';
import { checkToken } from './guard.ts';
import { AddHostSchema, AssignHostSchema, RotateHostSchema } from './host-schemas.ts';

const BODY_BYTES = 256 * 1024;

/**
 * Lets nobody look after hosts who knows no more than the token of generators: a key that reads all is not for
 * code that a machine wrote.
 */
export function needsAdminToken({
  adminToken,
}: Pick<DaemonConfig, 'adminToken'>): MiddlewareHandler {
  return async (c, next) => {
    if (adminToken === null) {
      const state = 'the daemon has no AGENT_ADMIN_TOKEN, which is for who may give keys';
      throw new StorageError(
        'forbidden',
        `Cannot look after hosts: ${state}. Set one, or use the command "codebegen-storage hosts"`,
      );
    }
    checkToken(c.req.header('authorization'), [adminToken], 'AGENT_ADMIN_TOKEN');
    await next();
  };
}

export const limitHostBody: MiddlewareHandler = bodyLimit({
  maxSize: BODY_BYTES,
  onError: () => {
    throw new StorageError(
      'too_large',
      `Cannot use the request: its body has more than ${BODY_BYTES} bytes`,
    );
  },
});

/** `GET /v1/hosts`: by name, those that were revoked after the others. */
export function listHosts(storage: Storage): Handler {
  return async (c) => {
    const hosts = await storage.hosts.list();
    const items = hosts.map(({ id: _, ...host }) => host);
    return c.json({ items, next_cursor: null });
  };
}

/** `POST /v1/hosts` */
export function addHost(storage: Storage): Handler {
  return async (c) => {
    const asked = await readJson(c, AddHostSchema);
    const name = parseHostName(asked.name);
    const expiresAt = endOf(asked.expires_in);
    const projects = asked.projects.map((id) => parseId(id, 'project id'));
    const { read, delete: mayDelete } = asked;
    const rights = { read, delete: mayDelete, projects, expiresAt };
    const key = await storage.hosts.add(name, rights);
    return c.json({ name, key, expires_at: expiresAt }, 201, NOT_KEPT);
  };
}

/** `POST /v1/hosts/:host/rotate` */
export function rotateHostKey(storage: Storage): Handler {
  return async (c) => {
    const name = readName(c);
    const { overlap, expires_in } = await readJson(c, RotateHostSchema);
    const expiresAt = endOf(expires_in);
    const { key, earlierEndsAt } = await storage.hosts.rotate(name, overlap, expiresAt);
    const answer = { name, key, expires_at: expiresAt, earlier_ends_at: earlierEndsAt };
    return c.json(answer, 200, NOT_KEPT);
  };
}

/** `POST /v1/hosts/:host/assign` */
export function assignProjects(storage: Storage): Handler {
  return async (c) => {
    const name = readName(c);
    const asked = await readJson(c, AssignHostSchema);
    const projects = asked.projects.map((id) => parseId(id, 'project id'));
    const from = asked.from === null ? null : parseHostName(asked.from);
    if (projects.length === 0 && from === null) {
      throw new StorageError('invalid_input', 'Cannot use the request: say "projects" or "from"');
    }
    let assigned = projects.length === 0 ? 0 : await storage.hosts.assign(name, projects);
    if (from !== null) assigned += await storage.hosts.assignFrom(name, from);
    return c.json({ name, assigned });
  };
}

/** `POST /v1/hosts/:host/revoke` */
export function revokeHost(storage: Storage): Handler {
  return async (c) => {
    const name = readName(c);
    return c.json({ name, revoked: await storage.hosts.revoke(name) });
  };
}

/** A key is in the answer. */
const NOT_KEPT = { 'cache-control': 'no-store' };

const readName = (c: Context) => parseHostName(c.req.param('host') ?? '');

function endOf(seconds: number | null): string | null {
  return seconds === null ? null : new Date(Date.now() + seconds * 1000).toISOString();
}

async function readJson<T extends v.GenericSchema>(
  c: Context,
  schema: T,
): Promise<v.InferOutput<T>> {
  const text = await c.req.text();
  let value: unknown;
  try {
    value = text === '' ? {} : JSON.parse(text);
  } catch (cause) {
    throw new StorageError('invalid_input', 'Cannot use the request: its body is no JSON', {
      cause,
    });
  }
  return validate(schema, value);
}
