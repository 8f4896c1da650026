import * as v from 'valibot';
import {
  ActivationOutcomeSchema,
  ActiveGenerationSchema,
  formatRef,
  type Ref,
} from '../contract.ts';
import type { Connection } from './connection.ts';
import { Rpc } from './rpc.ts';

const PageSchema = v.array(ActiveGenerationSchema);

/** Which version is active: when that was said, and when the database noted it, in its own text. */
export type Activation = v.InferOutput<typeof ActiveGenerationSchema>;
/** Where in the order of activations one is. */
export type ActivationPosition = Pick<Activation, 'noted_at' | 'project_id'>;

/** Which version of a project is active, in the database. */
export class ActivationsBySecretKey {
  readonly #rpc: Rpc;

  constructor(connection: Connection) {
    this.#rpc = new Rpc(connection);
  }

  /**
   * Says which version is active.
   *
   * @param at when that was said, in milliseconds
   * @returns `set`, with the time that counts; `later` where somebody said something since; `missing` where
   *   the cloud has no such generation
   */
  set(ref: Ref, at: number) {
    const args = {
      p_project_id: ref.projectId,
      p_version: ref.version,
      p_generation_id: ref.generationId,
      p_at: new Date(at).toISOString(),
    };
    return this.#rpc.call(
      'storage_set_active',
      args,
      ActivationOutcomeSchema,
      `activate ${formatRef(ref)}`,
    );
  }

  /** A page of them, by when they were noted; none where no database is there. */
  async list(after: ActivationPosition | null, limit: number): Promise<Activation[]> {
    const from = after === null ? {} : { p_after_at: after.noted_at, p_after_id: after.project_id };
    const args = { p_limit: limit, ...from };
    const page = await this.#rpc.call(
      'storage_list_active',
      args,
      PageSchema,
      'list what is active',
    );
    return Array.isArray(page) ? page : [];
  }
}
