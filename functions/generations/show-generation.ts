import type {
  GenerationDetails,
  GenerationQuerySchema,
  VersionParamSchema,
} from '../_shared/contract/api.ts';
import { URL_EXPIRY } from '../_shared/contract/limits.ts';
import { isInCloud } from '../_shared/contract/status.ts';
import type { UserContext } from './context.ts';
import type { GenerationRow } from './generation-row.ts';
import { checkFound, queryGeneration, toGeneration } from './rows.ts';
import { signArchive } from './sign.ts';

type Input = { param: typeof VersionParamSchema; query: typeof GenerationQuerySchema };

type Shown = GenerationRow & Pick<GenerationDetails, 'metadata'>;

/** `GET /projects/:project/:version`: one generation, with a URL once it is uploaded. */
export async function showGeneration(c: UserContext<Input>) {
  const asked = { ...c.req.valid('param'), ...c.req.valid('query') };
  const row = checkFound(
    await queryGeneration<Shown>(c.var.database, 'storage_show_generation', asked),
    asked,
  );
  const uploaded = isInCloud(row.status);
  // What is known is shown, whether or not storage can sign right now.
  const download = uploaded
    ? await signArchive(c, row, URL_EXPIRY.default).catch(() => null)
    : null;
  const details: GenerationDetails = {
    ...toGeneration(row),
    metadata: row.metadata,
    storage: { cloud_enabled: true, uploaded },
    download_url: download?.url ?? null,
    expires_in: download === null ? null : URL_EXPIRY.default,
  };
  return c.json(details);
}
