import { hash, randomBytes } from 'node:crypto';
import * as v from 'valibot';
import { formatHostKey, HOST_KEY_BYTES, StorageError } from '../contract.ts';
import type { Connection } from './connection.ts';
import { found } from './outcomes.ts';
import { Rpc } from './rpc.ts';

const time = v.nullable(v.string());

export const CloudHostSchema = v.object({
  id: v.string(),
  name: v.string(),
  read: v.picklist(['own', 'all']),
  delete: v.picklist(['none', 'own']),
  created_at: v.string(),
  last_seen_at: time,
  revoked_at: time,
  projects: v.pipe(v.number(), v.description('How many it was assigned.')),
  keys: v.pipe(
    v.array(v.object({ created_at: v.string(), expires_at: time })),
    v.description('The newest first; of one that is revoked none.'),
  ),
});

const AddedSchema = v.object({ outcome: v.picklist(['added', 'exists']) });
const RotatedSchema = v.variant('outcome', [
  v.object({ outcome: v.literal('rotated'), earlier_ends_at: time }),
  v.object({ outcome: v.literal('missing') }),
]);
const AssignedSchema = v.variant('outcome', [
  v.object({ outcome: v.literal('assigned'), assigned: v.number() }),
  v.object({ outcome: v.literal('missing') }),
]);
const AssignedOfSchema = v.variant('outcome', [
  v.object({ outcome: v.literal('assigned'), assigned: v.number() }),
  v.object({ outcome: v.picklist(['missing', 'missing_from', 'not_revoked']) }),
]);
const RevokedSchema = v.object({ outcome: v.picklist(['revoked', 'was_revoked', 'missing']) });

/** A host that has a key of its own. Times are ISO 8601. */
export type CloudHost = v.InferOutput<typeof CloudHostSchema>;

/** What a host may do. */
export type HostRights = Readonly<{
  /** What it may read: what is its own, or all. */
  read: 'own' | 'all';
  /** What it may delete: nothing, or what is its own. */
  delete: 'none' | 'own';
  /** Ids of projects that it may write to, which need not be there yet. */
  projects: readonly string[];
  /** When its key ends, in ISO 8601; `null`: it does not. */
  expiresAt: string | null;
}>;

/** So many are listed. */
const MOST = 1000;

/** The hosts that have a key of their own, for whoever has the secret key of the project. */
export class HostsBySecretKey {
  readonly #rpc: Rpc;
  readonly #bucket: string;

  constructor(connection: Connection) {
    this.#rpc = new Rpc(connection);
    this.#bucket = connection.settings.bucket;
  }

  /** Those that were revoked come after the others. @throws StorageError `not_found` without our tables */
  async list(): Promise<CloudHost[]> {
    const doing = 'list the hosts';
    return found(
      await this.#rpc.call(
        'storage_list_hosts',
        { p_limit: MOST },
        v.array(CloudHostSchema),
        doing,
      ),
      doing,
    );
  }

  /**
   * Adds a host, which writes into our bucket alone.
   *
   * @returns its key, which is kept nowhere
   * @throws StorageError `conflict` where another has its name, in any case
   */
  async add(name: string, rights: HostRights): Promise<string> {
    const doing = `add the host "${name}"`;
    const key = makeHostKey();
    const { read, projects, expiresAt } = rights;
    const args = {
      ...{ p_name: name, p_sha256: hashOf(key), p_read: read, p_delete: rights.delete },
      ...{ p_projects: projects, p_expires_at: expiresAt, p_bucket: this.#bucket },
    };
    const answer = found(await this.#rpc.call('storage_add_host', args, AddedSchema, doing), doing);
    if (answer.outcome === 'exists') {
      const state = 'there is one of this name, in this case or another';
      throw new StorageError('conflict', `Cannot ${doing}: ${state}`);
    }
    return key;
  }

  /**
   * Gives a host another key. The one before goes on for a while; any other ends.
   *
   * @param overlapSeconds how long that is
   * @param expiresAt when the new one ends, in ISO 8601; `null`: it does not
   * @returns the key, which is kept nowhere, and when the earlier one ends; `null`: there was none
   * @throws StorageError `not_found`
   */
  async rotate(
    name: string,
    overlapSeconds: number,
    expiresAt: string | null,
  ): Promise<{ key: string; earlierEndsAt: string | null }> {
    const doing = `rotate the key of the host "${name}"`;
    const key = makeHostKey();
    const args = {
      ...{ p_name: name, p_sha256: hashOf(key) },
      ...{ p_overlap_seconds: overlapSeconds, p_expires_at: expiresAt },
    };
    const call = this.#rpc.call('storage_rotate_host_key', args, RotatedSchema, doing);
    const answer = found(await call, doing);
    if (answer.outcome === 'missing') throw missing(doing);
    return { key, earlierEndsAt: answer.earlier_ends_at };
  }

  /**
   * Lets a host write to projects, which need not be there yet, and gives it what in them came by the secret key, or
   * from a host that was revoked.
   *
   * @returns to how many it might not before
   * @throws StorageError `not_found`
   */
  async assign(name: string, projects: readonly string[]): Promise<number> {
    const doing = `assign projects to the host "${name}"`;
    const args = { p_name: name, p_projects: projects };
    const call = this.#rpc.call('storage_assign_projects', args, AssignedSchema, doing);
    const answer = found(await call, doing);
    if (answer.outcome === 'missing') throw missing(doing);
    return answer.assigned;
  }

  /**
   * Gives a host all that one had which is revoked: its projects, and what it saved there.
   *
   * @returns to how many projects it might not write before
   * @throws StorageError `not_found`, `conflict` while the other is not revoked
   */
  async assignFrom(name: string, from: string): Promise<number> {
    const doing = `assign what "${from}" had to the host "${name}"`;
    const args = { p_name: name, p_from: from };
    const call = this.#rpc.call('storage_assign_projects_of', args, AssignedOfSchema, doing);
    const answer = found(await call, doing);
    if (answer.outcome === 'assigned') return answer.assigned;
    if (answer.outcome === 'not_revoked') {
      const state = `"${from}" is not revoked: codebegen-storage hosts revoke ${from}`;
      throw new StorageError('conflict', `Cannot ${doing}: ${state}`);
    }
    throw missing(`${doing}: of ${answer.outcome === 'missing' ? name : from}`);
  }

  /**
   * Has the keys of a host open nothing any more. What it saved stays.
   *
   * @returns whether they did until now
   * @throws StorageError `not_found`
   */
  async revoke(name: string): Promise<boolean> {
    const doing = `revoke the host "${name}"`;
    const call = this.#rpc.call('storage_revoke_host', { p_name: name }, RevokedSchema, doing);
    const { outcome } = found(await call, doing);
    if (outcome === 'missing') throw missing(doing);
    return outcome === 'revoked';
  }
}

const makeHostKey = () => formatHostKey(randomBytes(HOST_KEY_BYTES).toString('base64url'));

const hashOf = (key: string) => hash('sha256', key);

function missing(doing: string): StorageError {
  return new StorageError('not_found', `Cannot ${doing}: there is none of this name`);
}
