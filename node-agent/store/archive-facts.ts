import * as v from 'valibot';
import type { BlockIndex } from '../archive/pack.ts';
import type { Place } from '../disk/read-file.ts';
import { findText } from '../disk/read-manifest.ts';
import type { ArchiveFacts } from './hash.ts';

const whole = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** `archive.json`: what an archive is, with the digest of what is in it, and where its blocks are. */
const FactsSchema = v.object({
  bytes: whole,
  sha256: v.string(),
  md5: v.string(),
  digest: v.string(),
  block_index: v.nullable(
    v.object({
      block_bytes: v.pipe(whole, v.minValue(1)),
      tar_bytes: whole,
      blocks: v.array(whole),
      entries: v.array(whole),
      artifacts: v.array(whole),
    }),
  ),
});

/** What is written down of an archive. The index is `null` for small ones, which are read whole. */
export type WrittenFacts = ArchiveFacts &
  Readonly<{ digest: string; blockIndex: BlockIndex | null }>;

export function formatArchiveFacts({ blockIndex, ...facts }: WrittenFacts): string {
  return JSON.stringify({ ...facts, block_index: blockIndex } satisfies v.InferInput<
    typeof FactsSchema
  >);
}

/**
 * @returns `null` where nothing is written down, or not what it should be: what the archive is follows
 *   from its bytes
 * @throws StorageError `corrupt` where something else than a file is in its place
 */
export function readArchiveFacts(place: Place): WrittenFacts | null {
  const text = findText(place);
  try {
    const { block_index: blockIndex, ...facts } = v.parse(FactsSchema, JSON.parse(text ?? ''));
    return { ...facts, blockIndex };
  } catch {
    return null;
  }
}
