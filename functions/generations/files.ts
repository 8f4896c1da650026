/** The files of a generation: which there are, and what is in them. */
import { inflateSync } from 'fflate';
import * as v from 'valibot';
import { type FileEntry, FileEntrySchema } from '../_shared/contract/api.ts';
import type { Folder } from '../_shared/contract/archive-names.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import { EDGE_LIMITS } from '../_shared/contract/limits.ts';
import { comparePaths, pathProblem } from '../_shared/contract/paths.ts';
import { type ArchivedFile, readArchive } from '../_shared/read-archive.ts';
import type { ByteRange } from '../_shared/read-object.ts';
import { sha256Of } from '../_shared/sha256.ts';
import { readBytes } from '../_shared/stream.ts';
import type { UserContext } from './context.ts';
import type { GenerationRow } from './generation-row.ts';
import { openArchive } from './open-archive.ts';
import {
  type Asked,
  checkFound,
  checkInCloud,
  damagedManifest,
  formatRow,
  queryGeneration,
} from './rows.ts';
import { tooLarge } from './sign.ts';

const entry = v.object({
  ...FileEntrySchema.entries,
  path: v.pipe(
    v.string(),
    v.check((path) => pathProblem(path) === null),
  ),
});
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
/** A file begins in one block and ends in another: what is inflated is little more than it. */
const MAX_INFLATED_BYTES = EDGE_LIMITS.fileBytes + 1024 ** 2;
const ListedSchema = v.array(entry);
const FoundSchema = v.array(
  v.object({
    ...entry.entries,
    span: v.nullable(
      v.object({
        begin: count,
        end: count,
        skip: count,
        inflated_bytes: count,
      }),
    ),
  }),
);

/** @throws StorageError `corrupt` where the manifest lists what no file can be */
function checkListed<T extends v.GenericSchema>(
  schema: T,
  files: unknown,
  row: GenerationRow,
): v.InferOutput<T> {
  const { success, output, issues } = v.safeParse(schema, files);
  if (!success) throw damagedManifest(formatRow(row), issues);
  return output;
}

type Listed = GenerationRow & { files: FileEntry[] | null };

/**
 * Where a file is in an archive with a block index: of what the range inflates to, which is
 * `inflated_bytes` at most, `skip` are passed over.
 */
type Span = ByteRange & { skip: number; inflated_bytes: number };
type Found = GenerationRow & { files: (FileEntry & { span: Span | null })[] | null };

/** A file and its content. */
export type FileContent = FileEntry & Readonly<{ bytes: Uint8Array }>;

/** Requests for ranges of one archive at a time. */
const RANGES_AT_ONCE = 8;
/** The end of a deflate stream: an empty block that is marked as the last one. */
const FINAL_BLOCK = Uint8Array.of(3, 0);

/**
 * Lists the files of a generation by path, with one query. Where only the archive knows them, it
 * is read whole.
 *
 * @param page how many, and after which path; all where it is left out
 */
export async function getFiles(
  c: UserContext,
  asked: Asked,
  folder: Folder,
  page?: { limit: number; after?: string | undefined },
): Promise<{ row: GenerationRow; files: FileEntry[] }> {
  const limit = page?.limit ?? null;
  const after = page?.after ?? null;
  const args = { p_folder: folder, p_limit: limit, p_after: after };
  const { database } = c.var;
  const listed = await queryGeneration<Listed>(database, 'storage_list_files', asked, args);
  const { files, ...row } = checkFound(listed, asked);
  checkInCloud(row, 'list the files of');
  if (files !== null) return { row, files: checkListed(ListedSchema, files, row) };
  const archived: FileEntry[] = [];
  for await (const file of readWhole(c, row)) {
    if (file.folder !== folder) continue;
    const { bytes: _, ...entry } = await readContent(file);
    archived.push(entry);
  }
  const rest = archived
    .sort((a, b) => comparePaths(a.path, b.path))
    .filter(({ path }) => after === null || comparePaths(path, after) > 0);
  return { row, files: limit === null ? rest : rest.slice(0, limit) };
}

/** Files that were asked for, and how to get their content. */
export type FoundFiles = Readonly<{
  row: GenerationRow;
  /** `null` where only the archive knows them. */
  files: FileEntry[] | null;
  /** Reads those that are there; each is compared with its hash in the manifest, if it has one. */
  read(): Promise<FileContent[]>;
}>;

/**
 * Finds files of a generation, with one query. Each is read by one request for the range of the
 * archive that holds it, or all of them from the archive whole, where it has no block index.
 */
export async function findFiles(
  c: UserContext,
  asked: Asked,
  folder: Folder,
  paths: readonly string[],
): Promise<FoundFiles> {
  const args = { p_folder: folder, p_paths: paths };
  const { database } = c.var;
  const found = await queryGeneration<Found>(database, 'storage_find_files', asked, args);
  const { files: listed, ...row } = checkFound(found, asked);
  const files = listed === null ? null : checkListed(FoundSchema, listed, row);
  checkInCloud(row, 'read');

  async function read(): Promise<FileContent[]> {
    const expected = new Map(files?.map((file) => [file.path, file]));
    const contents: FileContent[] = [];
    if (files?.every((file) => file.span !== null)) {
      for (let done = 0; done < files.length; done += RANGES_AT_ONCE) {
        const some = files.slice(done, done + RANGES_AT_ONCE);
        contents.push(...(await Promise.all(some.map((file) => readSpan(c, row, file)))));
      }
    } else {
      for await (const file of readWhole(c, row)) {
        if (file.folder !== folder || !paths.includes(file.path)) continue;
        if (file.size > EDGE_LIMITS.fileBytes) throw await fileTooLarge(c, row, file.path);
        contents.push(await readContent(file));
      }
    }
    for (const content of contents) {
      const { sha256 } = expected.get(content.path) ?? content;
      if (content.sha256 !== sha256) throw damaged(row, content.path);
    }
    const missing = [...expected.keys()].find(
      (path) => !contents.some((file) => file.path === path),
    );
    if (missing !== undefined) throw damaged(row, missing);
    return contents;
  }
  return { row, files: files?.map(({ span: _, ...file }) => file) ?? null, read };
}

/** For a file that is over the limit. */
export function fileTooLarge(c: UserContext, row: GenerationRow, path: string) {
  const name = `${JSON.stringify(path)} of ${formatRow(row)}`;
  return tooLarge(c, row, `Cannot show ${name}: it has over ${EDGE_LIMITS.fileBytes} bytes`);
}

/** Reads one file by its range of the archive. */
async function readSpan(
  c: UserContext,
  row: GenerationRow,
  { span, ...file }: FileEntry & { span: Span | null },
): Promise<FileContent> {
  if (file.size === 0 || span === null) return { ...file, bytes: new Uint8Array(0) };
  const length = span.end - span.begin;
  if (length <= 0 || span.inflated_bytes > MAX_INFLATED_BYTES) throw damaged(row, file.path);
  const stream = await openArchive(c, row, span);
  const deflated = new Uint8Array(length + FINAL_BLOCK.length);
  deflated.set(FINAL_BLOCK, length);
  // What would inflate to more than it should takes no more memory.
  const out = new Uint8Array(span.inflated_bytes);
  const ranged = await new Response(stream).bytes();
  try {
    deflated.set(ranged.subarray(0, length));
    const inflated = inflateSync(deflated, { out });
    const bytes = inflated.subarray(span.skip, span.skip + file.size);
    return { ...file, sha256: await sha256Of(bytes), bytes };
  } catch (cause) {
    throw damaged(row, file.path, cause);
  }
}

/** Reads an archive from the first byte on, within limits. */
async function* readWhole(c: UserContext, row: GenerationRow): AsyncGenerator<ArchivedFile> {
  if ((row.archive_bytes ?? 0) > EDGE_LIMITS.archiveBytes) {
    const limit = `${EDGE_LIMITS.archiveBytes} bytes`;
    const message = `Cannot look into ${formatRow(row)}: it has no index and over ${limit}`;
    throw await tooLarge(c, row, message);
  }
  yield* readArchive(await openArchive(c, row), {
    bytes: EDGE_LIMITS.contentBytes,
    files: EDGE_LIMITS.archiveFiles,
  });
}

async function readContent({ path, size, mode, body }: ArchivedFile): Promise<FileContent> {
  const bytes = await readBytes(body, size);
  return { path, size, mode, sha256: await sha256Of(bytes), bytes };
}

function damaged(row: GenerationRow, path: string, cause?: unknown): StorageError {
  const name = `${JSON.stringify(path)} of ${formatRow(row)}`;
  const message = `Cannot read ${name}: the archive is not what its manifest says`;
  return new StorageError('corrupt', message, { cause });
}
