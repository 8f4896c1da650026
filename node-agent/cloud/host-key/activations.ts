import {
  ActivationOutcomeSchema,
  ChangedActiveSchema,
  formatRef,
  type Ref,
} from '../../contract.ts';
import type { Activation, ActivationPosition } from '../activations.ts';
import type { CloudActivations } from '../cloud.ts';
import type { HostApi } from './api.ts';

/** Which version of a project is active, asked of the function `hosts`. */
export class ActivationsByHostKey implements CloudActivations {
  readonly #api: HostApi;

  constructor(api: HostApi) {
    this.#api = api;
  }

  set(ref: Ref, at: number) {
    const body = {
      project_id: ref.projectId,
      version: ref.version,
      generation_id: ref.generationId,
      at: new Date(at).toISOString(),
    };
    return this.#api.ask('/activate', body, ActivationOutcomeSchema, `activate ${formatRef(ref)}`);
  }

  async list(after: ActivationPosition | null, limit: number): Promise<Activation[]> {
    const from = after && { noted_at: after.noted_at, project_id: after.project_id };
    const body = { of: 'active', after: from, limit };
    const doing = 'list what is active';
    return (await this.#api.ask('/changes', body, ChangedActiveSchema, doing)).items;
  }
}
