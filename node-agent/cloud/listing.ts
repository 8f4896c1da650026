import * as v from 'valibot';
import { CloudGenerationSchema, CloudProjectSchema } from '../contract.ts';
import type { Connection } from './connection.ts';
import { Rpc } from './rpc.ts';

const ProjectsSchema = v.array(CloudProjectSchema);
const GenerationsSchema = v.array(CloudGenerationSchema);

/** A project, as the database knows it. */
export type CloudProject = v.InferOutput<typeof CloudProjectSchema>;
/** A generation, as the database knows it. */
export type CloudGeneration = v.InferOutput<typeof CloudGenerationSchema>;

/** So many are asked for at once. */
const PAGE = 500;

/** All that the database knows, whoever saved it. */
export class ListingBySecretKey {
  readonly #rpc: Rpc;

  constructor(connection: Connection) {
    this.#rpc = new Rpc(connection);
  }

  /**
   * A page of projects, by id.
   *
   * @param after the id of the last one that is known
   * @returns `null` where no database is there
   */
  async listProjects(
    after: string,
    limit: number,
    only: string | null = null,
  ): Promise<CloudProject[] | null> {
    const args = { p_limit: limit, p_after: after, p_only: only };
    const name = 'storage_list_all_projects';
    const page = await this.#rpc.call(name, args, ProjectsSchema, 'list the projects');
    return Array.isArray(page) ? page : null;
  }

  /** A page of a project's generations, by version, deleted ones and those on their way too. */
  async listGenerations(
    projectId: string,
    after: number,
    limit: number,
  ): Promise<CloudGeneration[]> {
    const args = { p_limit: limit, p_project_id: projectId, p_after: after };
    const doing = `list the generations of "${projectId}"`;
    const name = 'storage_list_all_generations';
    const page = await this.#rpc.call(name, args, GenerationsSchema, doing);
    return Array.isArray(page) ? page : [];
  }

  /** All projects, or one, page by page; none where no database is there. */
  projects(only: string | null): AsyncGenerator<CloudProject> {
    const page = async (after: string, limit: number) =>
      (await this.listProjects(after, limit, only)) ?? [];
    return pagesOf('', page, (project) => project.project_id);
  }

  /** All generations of a project, page by page. */
  generations(projectId: string): AsyncGenerator<CloudGeneration> {
    const page = (after: number, limit: number) => this.listGenerations(projectId, after, limit);
    return pagesOf(0, page, (generation) => generation.version);
  }
}

/** Everything, page by page, each after the place of the last one of the page before. */
export async function* pagesOf<T, Place>(
  begin: Place,
  list: (after: Place, limit: number) => Promise<T[]>,
  placeOf: (last: T) => Place,
): AsyncGenerator<T> {
  for (let after = begin; ; ) {
    const page = await list(after, PAGE);
    yield* page;
    if (page.length < PAGE) return;
    after = placeOf(page.at(-1)!);
  }
}
