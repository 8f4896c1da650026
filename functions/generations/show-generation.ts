import { GenerationQuerySchema, VersionParamSchema } from '../_shared/contract/api.ts';
import { URL_EXPIRY } from '../_shared/contract/limits.ts';
import { isInCloud } from '../_shared/contract/status.ts';
import { validate } from '../_shared/validate.ts';
import type { RouteOptions, UserContext } from './context.ts';
import { getGenerationRow, toGeneration } from './rows.ts';
import { signArchive } from './sign.ts';

/** `GET /projects/:project/:version`: one generation, with a URL once it is uploaded. */
export function showGeneration({ environment }: RouteOptions) {
  return async (c: UserContext): Promise<Response> => {
    const { project, version } = validate(VersionParamSchema, c.req.param());
    const { generation } = validate(GenerationQuerySchema, c.req.query());
    const row = await getGenerationRow(c, project, version, generation);
    const uploaded = isInCloud(row.status);
    // What is known is shown, whether or not storage can sign right now.
    const download = uploaded
      ? await signArchive(c, environment, row, URL_EXPIRY.default).catch(() => null)
      : null;
    return c.json({
      ...toGeneration(row),
      storage: { cloud_enabled: true, uploaded },
      download_url: download?.url ?? null,
      expires_in: download === null ? null : URL_EXPIRY.default,
    });
  };
}
