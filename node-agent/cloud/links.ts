import * as v from 'valibot';
import { formatRef, type Ref, StorageError } from '../contract.ts';
import type { Connection } from './connection.ts';
import { found } from './outcomes.ts';
import { Rpc } from './rpc.ts';

/** How its id begins. */
export const LinkNameSchema = v.pipe(
  v.string(),
  v.regex(/^[0-9a-f]{8}-[0-9a-f]{4}$/, 'not the name of a link'),
  v.description('How its id begins: enough to know it by, and not to follow it.'),
);

export const CloudLinkSchema = v.object({
  name: LinkNameSchema,
  format: v.picklist(['tar.gz', 'zip']),
  created_at: v.string(),
  expires_at: v.string(),
  downloads: v.pipe(v.number(), v.description('How often it was followed.')),
  last_download_at: v.nullable(v.string()),
});
const EndedSchema = v.object({ outcome: v.picklist(['ended', 'had_ended', 'missing']) });

/** A link that its owner made to a generation, and that can be ended. Times are ISO 8601. */
export type CloudLink = v.InferOutput<typeof CloudLinkSchema>;

/** So many are listed: an owner has no more at once. */
const MOST = 1000;

type Place = Pick<Ref, 'projectId' | 'version'>;

/** The links that users made to generations, for whoever has the secret key of the project. */
export class LinksBySecretKey {
  readonly #rpc: Rpc;

  constructor(connection: Connection) {
    this.#rpc = new Rpc(connection);
  }

  /** Those to a generation that can be followed, newest first. @throws StorageError `not_found` without our tables */
  async list({ projectId, version }: Place): Promise<CloudLink[]> {
    const doing = `list the links to ${formatRef({ projectId, version })}`;
    const of = { p_project_id: projectId, p_version: version, p_limit: MOST };
    const schema = v.array(CloudLinkSchema);
    return found(await this.#rpc.call('storage_links_to', of, schema, doing), doing);
  }

  /**
   * Ends a link. May be repeated.
   *
   * @returns whether it could be followed until now
   * @throws StorageError `not_found` where there is no such link to it
   */
  async end({ projectId, version }: Place, name: string): Promise<boolean> {
    const doing = `end a link to ${formatRef({ projectId, version })}`;
    const of = { p_project_id: projectId, p_version: version, p_name: name };
    const call = this.#rpc.call('storage_end_link_to', of, EndedSchema, doing);
    const { outcome } = found(await call, doing);
    if (outcome === 'missing') {
      throw new StorageError('not_found', `Cannot ${doing}: there is none "${name}"`);
    }
    return outcome === 'ended';
  }
}
