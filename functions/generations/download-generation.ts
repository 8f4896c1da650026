import type { VersionParamSchema } from '../_shared/contract/api.ts';
import type {
  Download,
  DownloadBodySchema,
  DownloadQuerySchema,
} from '../_shared/contract/downloads.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import { MAX_LINKS } from '../_shared/contract/limits.ts';
import { notFound } from '../_shared/contract/ref.ts';
import { callDatabase } from '../_shared/database.ts';
import { checkZipSize } from './archive-zip.ts';
import type { UserContext } from './context.ts';
import { type LinkRow, toLink } from './link-row.ts';
import { type Asked, checkFound, checkInCloud, formatRow, queryGeneration } from './rows.ts';
import { signArchive } from './sign.ts';
import { signZip } from './sign-zip.ts';

type Input = {
  param: typeof VersionParamSchema;
  query: typeof DownloadQuerySchema;
  json: typeof DownloadBodySchema;
};

/** `POST /projects/:project/:version/download`: a URL for the archive that needs nothing else. */
export async function downloadGeneration(c: UserContext<Input>) {
  const { format, expires_in, revocable } = c.req.valid('json');
  const { region, generation } = c.req.valid('query');
  const asked = { ...c.req.valid('param'), generation };
  if (revocable) return c.json(await createLink(c, asked, { format, expires_in }));
  // Counts it, in the same query.
  const args = { p_generation_id: asked.generation ?? null };
  const row = checkFound(
    await queryGeneration(c.var.database, 'storage_download_generation', asked, args),
    asked,
  );
  return c.json(
    format === 'zip'
      ? await signZip(c, row, expires_in)
      : await signArchive(c, row, expires_in, region),
  );
}

/** Makes a link that can be ended. What could not be downloaded by it is refused now. */
async function createLink(
  c: UserContext,
  asked: Asked,
  { format, expires_in }: { format: 'tar.gz' | 'zip'; expires_in: number },
): Promise<Download> {
  const row = checkFound(await c.var.findGeneration(asked.project, asked.version), asked);
  if (format === 'zip') await checkZipSize(c, row);
  else checkInCloud(row, 'link');
  const { project: p_project_id, version: p_version } = asked;
  const made = await callDatabase<Made | null>(
    c.var.database,
    'storage_create_link',
    {
      ...{ p_project_id, p_version, p_format: format, p_expires_in: expires_in },
      ...{ p_limit: MAX_LINKS, p_generation_id: row.generation_id },
    },
    `link ${formatRow(row)}`,
  );
  if (made === null) throw notFound({ projectId: asked.project, version: asked.version });
  if (made.outcome === 'too_many') {
    const state = `you have ${MAX_LINKS} links, which is the limit. End some: DELETE /links/:id`;
    throw new StorageError('too_large', `Cannot link ${formatRow(row)}: ${state}`);
  }
  const { id, url, expires_at } = toLink(made.link, c.var.environment);
  const isWhole = format === 'tar.gz';
  const [sha256, size] = isWhole ? [row.sha256, row.archive_bytes] : [null, null];
  return { url, expires_at, sha256, size, link: id, region: null };
}

type Made = { outcome: 'created'; link: LinkRow } | { outcome: 'too_many' };
