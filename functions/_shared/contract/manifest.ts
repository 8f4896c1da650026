import * as v from 'valibot';
import { StorageError } from './errors.ts';
import { ID_PATTERN, MAX_VERSION } from './ids.ts';

/** What is kept of a file's mode: its permissions, and its owner can always read and write. */
export const DEFAULT_MODE = 0o644;

const sha256Hex = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const size = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const id = v.pipe(v.string(), v.regex(ID_PATTERN));

export const ManifestEntrySchema = v.object({
  path: v.string(),
  /** Bytes. */
  size,
  sha256: sha256Hex,
  /** Permission bits: `0o644` is 420. */
  mode: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0o777)),
});

/** One file: its path (relative to `source/` or `artifacts/`), size, hash and mode. */
export type ManifestEntry = v.InferOutput<typeof ManifestEntrySchema>;

// Not v.record, which passes over a member named "constructor".
const metadata = v.pipe(
  v.custom<Record<string, unknown>>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    'must be an object',
  ),
  v.metadata({ type: 'object' }),
);

/**
 * `manifest.json` on disk and in the archive. The fields above `schema` are those of the
 * Python system, whose manifests have no others.
 */
export const ManifestSchema = v.object({
  generation_id: id,
  project_id: id,
  version: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_VERSION)),
  created_at: v.string(),
  file_count: size,
  total_size_bytes: size,
  files: v.array(v.string()),
  metadata: v.optional(metadata, {}),
  /** The user whose project it is, where one was named with the save. */
  owner_id: v.optional(v.string()),
  /** Whether it took the place of other content: its archive has a key of its own. */
  replacement: v.optional(v.literal(true)),
  schema: v.optional(v.literal(1)),
  digest: v.optional(sha256Hex),
  entries: v.optional(v.array(ManifestEntrySchema)),
  artifacts: v.optional(v.array(ManifestEntrySchema)),
});

export type Manifest = v.InferOutput<typeof ManifestSchema>;

/** A manifest that this system wrote: the fields that the Python system lacked are there. */
export type CompleteManifest = Manifest &
  Required<Pick<Manifest, 'schema' | 'digest' | 'entries' | 'artifacts'>>;

/** Whether this system wrote it. */
export function isComplete(manifest: Manifest): manifest is CompleteManifest {
  const { schema, digest, entries, artifacts } = manifest;
  return [schema, digest, entries, artifacts].every((field) => field !== undefined);
}

/**
 * Reads the text of a `manifest.json`.
 *
 * @param where names the file in the message
 * @throws StorageError `corrupt`
 */
export function parseManifest(text: string, where: string): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new StorageError('corrupt', `Cannot read "${where}": it is not JSON`, { cause });
  }
  const result = v.safeParse(ManifestSchema, json);
  if (result.success) return result.output;
  const issue = result.issues[0];
  throw new StorageError(
    'corrupt',
    `Cannot read "${where}": ${v.getDotPath(issue) ?? 'manifest'}: ${issue.message}`,
  );
}
