import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import type { Told } from '../events/events.ts';

/** That the cloud has the bytes of a generation: to be told in the transaction that notes it. */
export function verifiedEvent(row: GenerationRow): Told {
  const { digest, sha256, archive_bytes: bytes } = row;
  return { kind: 'generation.verified', ...refOf(row), digest, sha256, bytes };
}
