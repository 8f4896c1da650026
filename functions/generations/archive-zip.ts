import type { VersionParamSchema, ZipQuerySchema } from '../_shared/contract/api.ts';
import { entryNameOf } from '../_shared/contract/archive-names.ts';
import { EDGE_LIMITS } from '../_shared/contract/limits.ts';
import { type ArchivedFile, readArchive } from '../_shared/read-archive.ts';
import { type ZipFile, zipFiles } from '../_shared/zip.ts';
import type { UserContext } from './context.ts';
import type { GenerationRow } from './generation-row.ts';
import { openArchive } from './open-archive.ts';
import { checkInCloud, formatRow, getGenerationRow } from './rows.ts';
import { tooLarge } from './sign.ts';

/** An archive of more than its row says breaks off. */
const ZIP_LIMITS = { bytes: EDGE_LIMITS.zipBytes, files: EDGE_LIMITS.zipFiles };
/** Where it is counted as it is read. */
const UNLIMITED = { bytes: Infinity, files: EDGE_LIMITS.zipFiles };

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
  // What is no archive is refused: an error cannot come once the zip has begun.
  const files = await begun(readArchive(await openArchive(c, row), ZIP_LIMITS));
  return c.body(zipFiles(named(files), zipTime(row)), 200, headers);
}

/**
 * Checks that a generation may be put into a zip.
 *
 * @throws StorageError `too_large`, with the URL of the tar.gz; `conflict` where it is not uploaded
 */
export async function checkZipSize(c: UserContext, row: GenerationRow): Promise<void> {
  checkInCloud(row, 'zip');
  const { source_bytes: bytes, file_count: files, digest } = row;
  // What we did not pack is looked through first: an error cannot come once the zip has begun.
  const isKnown = bytes !== null && files !== null && digest !== null;
  const counted = isKnown ? { bytes, files } : await count(c, row);
  if (counted !== null && isInBudget(counted)) return;
  const { zipBytes, zipFiles } = EDGE_LIMITS;
  const message = `Cannot zip ${formatRow(row)}: a zip has at most ${zipBytes} bytes, or ${zipFiles} files, or of both in proportion`;
  throw await tooLarge(c, row, message);
}

/** Bytes and files both take their time: each may use up what the other leaves. */
function isInBudget({ bytes, files }: { bytes: number; files: number }): boolean {
  return bytes / EDGE_LIMITS.zipBytes + files / EDGE_LIMITS.zipFiles <= 1;
}

/** Counts what is in an archive, and checks its names; `null` where it is too much. */
async function count(c: UserContext, row: GenerationRow) {
  const counted = { bytes: 0, files: 0 };
  if ((row.archive_bytes ?? 0) > EDGE_LIMITS.zipBytes) return null;
  for await (const { size } of readArchive(await openArchive(c, row), UNLIMITED)) {
    counted.bytes += size;
    counted.files++;
    if (!isInBudget(counted)) return null;
  }
  return counted;
}

/** A zip knows the years from 1980 to 2099. */
function zipTime(row: GenerationRow): Date {
  const time = new Date(row.created_at);
  const year = time.getUTCFullYear();
  return year > 1980 && year < 2099 ? time : new Date('1981-01-01T00:00:00Z');
}

async function* named(files: AsyncIterable<ArchivedFile>): AsyncGenerator<ZipFile> {
  for await (const file of files) {
    const { size, mode, body } = file;
    yield { name: entryNameOf(file), size, mode, body };
  }
}

/** The same, once the first has come. */
async function begun<T>(items: AsyncGenerator<T>): Promise<AsyncGenerator<T>> {
  const first = await items.next();
  return (async function* () {
    if (first.done === true) return;
    yield first.value;
    yield* items;
  })();
}
