import type { CompleteManifest, ManifestEntry, Ref } from '../contract.ts';
import type { Place } from '../disk/read-file.ts';
import { inGeneration } from '../store/layout.ts';
import type { SaveRequest } from './request.ts';

/** What to save of a generation that lies unpacked in a folder, as its manifest says. */
export function requestOfUnpacked(
  ref: Ref,
  { root, path }: Place,
  manifest: CompleteManifest,
): SaveRequest {
  const { entries, artifacts, metadata, owner_id: ownerId = null } = manifest;
  const listed = (folder: string, entries: readonly ManifestEntry[]) => ({
    ...{ kind: 'listed' as const, root, folder },
    files: entries.map(({ path, mode }) => ({ path, mode })),
  });
  return {
    ...{ ...ref, metadata, ownerId, replace: false, layOut: false },
    source: listed(inGeneration.source(path), entries),
    artifacts: artifacts.length === 0 ? null : listed(inGeneration.artifacts(path), artifacts),
  };
}
