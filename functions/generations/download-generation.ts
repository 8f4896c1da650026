import {
  DownloadBodySchema,
  GenerationQuerySchema,
  VersionParamSchema,
} from '../_shared/contract/api.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import { validate } from '../_shared/validate.ts';
import type { RouteOptions, UserContext } from './context.ts';
import { getGenerationRow } from './rows.ts';
import { signArchive } from './sign.ts';

/** `POST /projects/:project/:version/download`: a signed URL for the archive. */
export function downloadGeneration({ environment }: RouteOptions) {
  return async (c: UserContext): Promise<Response> => {
    const { project, version } = validate(VersionParamSchema, c.req.param());
    const { generation } = validate(GenerationQuerySchema, c.req.query());
    const body = validate(DownloadBodySchema, await readBody(c));
    const row = await getGenerationRow(c, project, version, generation);
    return c.json(await signArchive(c, environment, row, body.expires_in));
  };
}

/** A body may be left out: every field has a default. */
async function readBody(c: UserContext): Promise<unknown> {
  const text = await c.req.text();
  if (text === '') return {};
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new StorageError('invalid_input', 'Cannot use the request: body: not JSON', { cause });
  }
}
