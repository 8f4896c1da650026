import * as v from 'valibot';
import { CloudGenerationSchema, CloudProjectSchema } from '../../contract.ts';
import type { CloudListing } from '../cloud.ts';
import { type CloudGeneration, type CloudProject, pagesOf } from '../listing.ts';
import type { HostApi } from './api.ts';

/** What this host may read of what the database knows, asked of the function `hosts`. */
export class ListingByHostKey implements CloudListing {
  readonly #api: HostApi;

  constructor(api: HostApi) {
    this.#api = api;
  }

  async listProjects(
    after: string,
    limit: number,
    only: string | null = null,
  ): Promise<CloudProject[]> {
    const schema = v.object({ items: v.array(CloudProjectSchema) });
    const body = { of: 'projects', after, limit, only };
    return (await this.#api.ask('/list', body, schema, 'list the projects')).items;
  }

  async listGenerations(
    projectId: string,
    after: number,
    limit: number,
  ): Promise<CloudGeneration[]> {
    const schema = v.object({ items: v.array(CloudGenerationSchema) });
    const body = { of: 'generations', project_id: projectId, after, limit };
    const doing = `list the generations of "${projectId}"`;
    return (await this.#api.ask('/list', body, schema, doing)).items;
  }

  projects(only: string | null): AsyncGenerator<CloudProject> {
    return pagesOf(
      '',
      (after, limit) => this.listProjects(after, limit, only),
      (one) => one.project_id,
    );
  }

  generations(projectId: string): AsyncGenerator<CloudGeneration> {
    return pagesOf(
      0,
      (after, limit) => this.listGenerations(projectId, after, limit),
      (one) => one.version,
    );
  }
}
