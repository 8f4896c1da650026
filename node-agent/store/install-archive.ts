import { existsSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { damaged } from '../archive/own-manifest.ts';
import {
  type CompleteManifest,
  formatRef,
  type Limits,
  type Ref,
  StorageError,
} from '../contract.ts';
import { formatArchiveFacts } from './archive-facts.ts';
import { describeArchive } from './describe-archive.ts';
import { makeFolder, syncPathHere } from './durable.ts';
import type { ArchiveFacts } from './hash.ts';
import { inGeneration } from './layout.ts';
import { type FolderChange, stampOf } from './project-stamp.ts';
import { NEW_FILE } from './stage.ts';

/** What is to be put in place. */
export type InstallInput = Readonly<{
  ref: Ref;
  /** Holds the archive. */
  folder: string;
  /** Of what it has to hold; `null`: whatever it holds. */
  digest: string | null;
  limits: Limits;
  place: string;
  /** The folder above it of whose own place others take care. */
  outermost: string;
}>;

/** What is in place now. */
export type Installed = Readonly<{
  manifest: CompleteManifest;
  archive: ArchiveFacts;
  change: FolderChange;
}>;

/**
 * Puts an archive that came from elsewhere in the place of a generation, every file of it compared first. The
 * rename, once it lasts, is the commit.
 *
 * @throws StorageError `corrupt` where it is no archive of this generation, `conflict` where the folder is there
 */
export async function installArchive(input: InstallInput): Promise<Installed> {
  const { ref, folder, digest, limits, place, outermost } = input;
  const path = inGeneration.archive(folder);
  const inside = { root: realpathSync(folder), path: inGeneration.archive('') };
  const { manifest, facts } = await describeArchive(path, inside, { digest, limits });
  const { project_id, version, generation_id } = manifest;
  if (
    project_id !== ref.projectId ||
    version !== ref.version ||
    generation_id !== ref.generationId
  ) {
    const found = { projectId: project_id, version, generationId: generation_id };
    throw damaged(`it is that of ${formatRef(found)} ${generation_id}`);
  }
  writeFileSync(inGeneration.archiveFacts(folder), formatArchiveFacts(facts), NEW_FILE);
  for (const file of [path, inGeneration.archiveFacts(folder), folder]) syncPathHere(file);
  await makeFolder(dirname(place), outermost);
  const before = stampOf(dirname(place));
  if (existsSync(place)) {
    throw new StorageError('conflict', `Cannot restore ${formatRef(ref)}: its folder exists`);
  }
  renameSync(folder, place);
  const after = stampOf(dirname(place));
  syncPathHere(dirname(place));
  const { bytes, sha256, md5 } = facts;
  return { manifest, archive: { bytes, sha256, md5 }, change: { before, after } };
}
