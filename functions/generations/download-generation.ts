import { readBody } from '../_shared/body.ts';
import {
  DownloadBodySchema,
  GenerationQuerySchema,
  VersionParamSchema,
} from '../_shared/contract/api.ts';
import { validate } from '../_shared/validate.ts';
import type { RouteOptions, UserContext } from './context.ts';
import { getGenerationRow } from './rows.ts';
import { signArchive } from './sign.ts';

/** `POST /projects/:project/:version/download`: a signed URL for the archive. */
export function downloadGeneration({ environment }: RouteOptions) {
  return async (c: UserContext): Promise<Response> => {
    const { project, version } = validate(VersionParamSchema, c.req.param());
    const { generation } = validate(GenerationQuerySchema, c.req.query());
    const body = validate(DownloadBodySchema, await readBody(c.req));
    const row = await getGenerationRow(c, project, version, generation);
    return c.json(await signArchive(c, environment, row, body.expires_in));
  };
}
