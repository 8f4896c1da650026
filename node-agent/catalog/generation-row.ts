import { formatRef, objectKey, type Ref, type Status } from '../contract.ts';

/** What the catalog knows of a generation. Times are ISO 8601 UTC, sizes bytes. */
export type GenerationRow = Readonly<{
  project_id: string;
  version: number;
  generation_id: string;
  state: 'saving' | 'stored' | 'deleted';
  instance_id: string | null;
  status: 'pending' | 'uploaded' | 'verified' | 'failed';
  failure: string | null;
  digest: string | null;
  sha256: string | null;
  md5: string | null;
  archive_bytes: number | null;
  source_bytes: number | null;
  file_count: number | null;
  created_at: string;
  uploaded_at: string | null;
  owner_id: string | null;
  is_replacement: 0 | 1;
  object_key: string | null;
  earlier_keys: string;
  replaced_digest: string | null;
  cloud_digest: string | null;
  /** Up to which of its epochs in the database it was followed. */
  cloud_epoch: number;
  /** Whether its version was chosen here and not reserved yet: 2 where the cloud was not asked. */
  provisional: 0 | 1 | 2;
}>;

/** What is known of a generation once it is in place. */
export type StoredFacts = Readonly<{
  digest: string | null;
  sha256: string | null;
  md5: string | null;
  archiveBytes: number | null;
  sourceBytes: number;
  fileCount: number;
  ownerId: string | null;
  /** Whether it took the place of other content. */
  isReplacement: boolean;
}>;

/** Between two generations, by project and version. */
export type Position = Readonly<{ projectId: string; version: number }>;

/** Names a generation and what it holds: a replacement is another. */
export function contentName(row: GenerationRow): string {
  return `${formatRef(refOf(row))} ${row.digest}`;
}

/** The key of a row's archive in the bucket; until the cloud gave one, that which it mostly gives. */
export function keyOf(row: GenerationRow): string {
  return row.object_key ?? objectKey(refOf(row));
}

/** So many a row remembers: a replacement before each was told is rare. */
const MAX_EARLIER_KEYS = 50;

/** The keys that the cloud gave for a generation, when it is given other content: newest last. */
export function keysGivenFor({ object_key, earlier_keys }: GenerationRow): string[] {
  const earlier = JSON.parse(earlier_keys) as string[];
  return (object_key === null ? earlier : [...earlier, object_key]).slice(-MAX_EARLIER_KEYS);
}

/**
 * How far a generation is, for whoever asks.
 *
 * @param isCloudOn whether what is saved is on its way to the cloud
 */
export function statusOf(row: GenerationRow, isCloudOn: boolean): Status {
  if (row.state === 'deleted') return 'deleted';
  // Of the Python system, and not migrated: nothing is owed for it.
  const stays = !isCloudOn || row.digest === null;
  return row.status === 'pending' && stays ? 'local' : row.status;
}

/** The ref of a row. */
export function refOf(row: Pick<GenerationRow, 'project_id' | 'version' | 'generation_id'>): Ref {
  return { projectId: row.project_id, version: row.version, generationId: row.generation_id };
}
