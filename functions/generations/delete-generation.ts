import { createServiceClient } from '../_shared/clients.ts';
import { GenerationQuerySchema, VersionParamSchema } from '../_shared/contract/api.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import { callDatabase } from '../_shared/database.ts';
import { validate } from '../_shared/validate.ts';
import type { RouteOptions, UserContext } from './context.ts';
import { notFound } from './rows.ts';

type Buried = { generation_id: string; bucket: string; object_key: string };

/**
 * `DELETE /projects/:project/:version`: leaves a tombstone, then removes the archive. Where it
 * ends between the two, nothing is listed or readable any more, and a repeat finishes it.
 */
export function deleteGeneration({ environment }: RouteOptions) {
  return async (c: UserContext): Promise<Response> => {
    const { project, version } = validate(VersionParamSchema, c.req.param());
    const { generation } = validate(GenerationQuerySchema, c.req.query());
    const doing = `delete "${project} v${version}"`;
    const buried = await callDatabase<Buried | null>(
      c.var.database,
      'storage_delete_generation',
      { p_project_id: project, p_version: version, p_generation_id: generation ?? null },
      doing,
    );
    if (buried === null) throw notFound(project, version);

    const service = createServiceClient(environment);
    const { error } = await service.storage.from(buried.bucket).remove([buried.object_key]);
    if (error !== null) {
      throw new StorageError(
        'unavailable',
        `Cannot ${doing} whole: it is gone for everybody, its archive not yet removed, try again`,
        { cause: error },
      );
    }
    await callDatabase(
      service,
      'storage_record_removal',
      { p_project_id: project, p_version: version },
      doing,
    );
    return c.json({
      project_id: project,
      version,
      generation_id: buried.generation_id,
      status: 'deleted',
    });
  };
}
