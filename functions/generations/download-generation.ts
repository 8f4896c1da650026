import type {
  Download,
  DownloadBodySchema,
  GenerationQuerySchema,
  VersionParamSchema,
} from '../_shared/contract/api.ts';
import { checkZipSize } from './archive-zip.ts';
import type { UserContext } from './context.ts';
import type { GenerationRow } from './generation-row.ts';
import { checkFound, queryGeneration } from './rows.ts';
import { signArchive } from './sign.ts';

type Input = {
  param: typeof VersionParamSchema;
  query: typeof GenerationQuerySchema;
  json: typeof DownloadBodySchema;
};

/** `POST /projects/:project/:version/download`: a URL for the archive that needs nothing else. */
export async function downloadGeneration(c: UserContext<Input>) {
  const { format, expires_in } = c.req.valid('json');
  const asked = { ...c.req.valid('param'), ...c.req.valid('query') };
  // Counts it, in the same query.
  const args = { p_generation_id: asked.generation ?? null };
  const row = checkFound(
    await queryGeneration(c.var.database, 'storage_download_generation', asked, args),
    asked,
  );
  return c.json(
    format === 'zip' ? await signZip(c, row, expires_in) : await signArchive(c, row, expires_in),
  );
}

/** Makes a link to the zip, which is made as it is asked for: neither hash nor size is known. */
async function signZip(c: UserContext, row: GenerationRow, expiresIn: number): Promise<Download> {
  await checkZipSize(c, row);
  const { environment, archiveLinks, userId } = c.var;
  const expiresAt = Math.floor(Date.now() / 1000) + expiresIn;
  const { project_id: project, version, generation_id: generation } = row;
  const token = await archiveLinks.sign({ sub: userId, project, version, generation }, expiresAt);
  const path = `/functions/v1/generations/projects/${project}/${version}/archive.zip`;
  return {
    url: `${environment.publicUrl}${path}?token=${token}`,
    expires_at: new Date(expiresAt * 1000).toISOString(),
    sha256: null,
    size: null,
  };
}
