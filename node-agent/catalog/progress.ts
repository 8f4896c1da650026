/** How far the content of a generation is on its way to the cloud, as the catalog notes it. */
import type { Ref } from '../contract.ts';
import type { Catalog } from './catalog.ts';
import type { Changes } from './generations.ts';

/**
 * Notes that the cloud has content of a generation; other content may have taken its place here.
 *
 * @param at ISO 8601
 */
export function noteInCloud(
  catalog: Catalog,
  ref: Ref,
  digest: string | null,
  status: 'uploaded' | 'verified',
  at: string,
): void {
  const { generations, meta } = catalog;
  catalog.transaction(() => {
    const row = generations.find(ref.projectId, ref.version);
    const changes = {
      status,
      failure: null,
      cloud_digest: null,
      replaced_digest: null,
      provisional: 0,
      uploaded_at: row?.uploaded_at ?? at,
    } as const;
    generations.update(ref, changes, digest);
    meta.setWitness(ref, false);
  });
}

/** Notes that the cloud has other content under the name of this one, and why. */
export function noteSuperseded(
  { generations }: Catalog,
  ref: Ref,
  digest: string | null,
  cloudDigest: string | null,
  why: string,
): void {
  if (generations.find(ref.projectId, ref.version)?.state !== 'stored') return;
  const changes = {
    status: 'failed',
    failure: why,
    cloud_digest: cloudDigest ?? 'unknown',
  } as const;
  generations.update(ref, changes, digest);
}

/** Notes that the cloud has this content again, as it seems: it is asked for. */
export function notePutBack(catalog: Catalog, ref: Ref, digest: string | null, now: number): void {
  catalog.transaction(() => {
    catalog.generations.update(ref, { cloud_digest: null }, digest);
    catalog.jobs.owe(ref, 'reserve', now);
  });
}

/** What the cloud has of a generation, as its row says. */
export type CloudFacts = Readonly<{
  digest: string | null;
  sha256: string | null;
  archive_bytes: number | null;
  object_key: string;
}>;

/** What a row says of content that the cloud alone has: its bytes are not proven. */
export function fromCloud(facts: CloudFacts): Changes {
  const { digest, sha256, archive_bytes, object_key } = facts;
  return {
    status: 'uploaded',
    failure: null,
    cloud_digest: null,
    digest,
    sha256,
    md5: null,
    archive_bytes,
    object_key,
  };
}

/**
 * Takes over what the cloud has of a generation, of which nothing is left here.
 *
 * @param seen the digest that it had: nothing is noted where that is another, or somebody works on it
 * @returns whether it was noted
 */
export function takeFromCloud(
  catalog: Catalog,
  ref: Ref,
  seen: string | null,
  facts: CloudFacts,
): boolean {
  const { generations } = catalog;
  return catalog.transaction(() => {
    const row = generations.find(ref.projectId, ref.version);
    const isSeen = row?.state === 'stored' && row.instance_id === null && row.digest === seen;
    if (!isSeen) return false;
    generations.update(ref, fromCloud(facts));
    return true;
  });
}
