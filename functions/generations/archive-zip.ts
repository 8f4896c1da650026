import type { VersionParamSchema, ZipQuerySchema } from '../_shared/contract/api.ts';
import { EDGE_LIMITS } from '../_shared/contract/limits.ts';
import { type ArchivedFile, readArchive } from '../_shared/read-archive.ts';
import { type ZipFile, zipFiles } from '../_shared/zip.ts';
import type { UserContext } from './context.ts';
import { archiveNotFound, checkInCloud, type GenerationRow, getGenerationRow } from './rows.ts';
import { tooLarge } from './sign.ts';

type Input = { param: typeof VersionParamSchema; query: typeof ZipQuerySchema };

/** `GET /projects/:project/:version/archive.zip`: the archive as a zip, made as it streams. */
export async function archiveZip(c: UserContext<Input>): Promise<Response> {
  const { project, version } = c.req.valid('param');
  const { generation } = c.req.valid('query');
  const row = await getGenerationRow(c, { project, version, generation });
  await checkZipSize(c, row);
  const headers = {
    'content-type': 'application/zip',
    'content-disposition': `attachment; filename="${project}-v${version}.zip"`,
  };
  if (c.req.method === 'HEAD') return c.body(null, 200, headers);
  const files = readArchive(await openArchive(c, row), EDGE_LIMITS.zipBytes);
  return c.body(zipFiles(named(files), new Date(row.created_at)), 200, headers);
}

/**
 * Checks that a generation may be put into a zip.
 *
 * @throws StorageError `too_large`, with the URL of the tar.gz; `conflict` where it is not uploaded
 */
export async function checkZipSize(c: UserContext, row: GenerationRow): Promise<void> {
  checkInCloud(row, 'zip');
  const { source_bytes: bytes, file_count: files } = row;
  const counted = bytes === null || files === null ? await count(c, row) : { bytes, files };
  const { zipBytes, zipFiles } = EDGE_LIMITS;
  if (counted.bytes <= zipBytes && counted.files <= zipFiles) return;
  const name = `"${row.project_id} v${row.version}"`;
  const message = `Cannot zip ${name}: it has over ${zipBytes} bytes or ${zipFiles} files`;
  throw await tooLarge(c, row, message);
}

/** Counts what is in an archive of which that was not recorded: an error cannot come later. */
async function count(c: UserContext, row: GenerationRow) {
  const counted = { bytes: 0, files: 0 };
  if ((row.archive_bytes ?? 0) > EDGE_LIMITS.zipBytes) return { ...counted, bytes: Infinity };
  for await (const { size } of readArchive(await openArchive(c, row), Infinity)) {
    counted.bytes += size;
    counted.files++;
    if (counted.bytes > EDGE_LIMITS.zipBytes) break;
  }
  return counted;
}

async function openArchive(c: UserContext, row: GenerationRow) {
  const stream = await c.var.readObject(row, { signal: c.req.raw.signal });
  if (stream === null) throw archiveNotFound(row);
  return stream;
}

async function* named(files: AsyncIterable<ArchivedFile>): AsyncGenerator<ZipFile> {
  for await (const { folder, path, ...file } of files) {
    yield { name: folder === null ? path : `${folder}/${path}`, ...file };
  }
}
