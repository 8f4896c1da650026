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
import { fromFileSystem } from '../disk/file-errors.ts';
import { fromOutcome, type Outcome, toOutcome } from '../threads/outcome.ts';
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

/** What is known of one on its way: that is added to from step to step. */
type Described = Readonly<{
  input: InstallInput;
  manifest: CompleteManifest;
  archive: ArchiveFacts;
}>;

/**
 * Puts archives that came from elsewhere in the places of generations, every file of them compared first. The
 * rename, once it lasts, is the commit. Each step is done for all of them before the next: what the disk is told to
 * make last it makes last with what was written beside it, and it is waited for less often.
 *
 * @returns what came of each: it failed with `corrupt` where it is no archive of this generation, with `conflict`
 *   where its folder is there
 */
export async function installArchives(
  inputs: readonly InstallInput[],
): Promise<Outcome<Installed>[]> {
  const given = inputs.map((input) => ({ value: { input } }));
  const described = await each(given, describe);
  const written = await each(described, makeLast);
  const placed = await each(written, putInPlace);
  const lasting = new Map<string, Promise<Outcome<void>>>();
  return each(placed, async ({ input, ...installed }) => {
    const parent = dirname(input.place);
    // Once: the disk tells of a failure whoever asks first, and nobody after that.
    const last = lasting.get(parent) ?? toOutcome(() => syncPathHere(parent), known(input));
    lasting.set(parent, last);
    fromOutcome(await last);
    return installed;
  });
}

async function describe({ input }: Pick<Described, 'input'>): Promise<Described> {
  const { ref, folder, digest, limits } = input;
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
  const { bytes, sha256, md5 } = facts;
  return { input, manifest, archive: { bytes, sha256, md5 } };
}

function makeLast(described: Described): Described {
  const { folder } = described.input;
  const files = [inGeneration.archive(folder), inGeneration.archiveFacts(folder)];
  for (const path of [...files, folder]) syncPathHere(path);
  return described;
}

async function putInPlace(described: Described): Promise<Described & { change: FolderChange }> {
  const { ref, folder, place, outermost } = described.input;
  await makeFolder(dirname(place), outermost);
  const before = stampOf(dirname(place));
  if (existsSync(place)) {
    throw new StorageError('conflict', `Cannot restore ${formatRef(ref)}: its folder exists`);
  }
  renameSync(folder, place);
  return { ...described, change: { before, after: stampOf(dirname(place)) } };
}

/** A step of each; those of which an earlier one failed are passed over. */
async function each<A extends Pick<Described, 'input'>, B>(
  before: readonly Outcome<A>[],
  step: (one: A) => B | Promise<B>,
): Promise<Outcome<B>[]> {
  const after: Outcome<B>[] = [];
  for (const one of before) {
    if ('failure' in one) after.push(one);
    else {
      const { input } = one.value;
      const outcome = toOutcome(() => step(one.value), known(input));
      after.push(await outcome.catch((cause: Error) => failureOf(input, cause)));
    }
  }
  return after;
}

/** What nobody foresaw of one is no reason for the others to fail. */
function failureOf({ place }: InstallInput, cause: Error): Outcome<never> {
  const message = `Cannot restore into "${place}": ${cause.message}`;
  return { failure: { code: 'internal', message, cause } };
}

const known =
  ({ place }: InstallInput) =>
  (error: unknown) =>
    fromFileSystem(error, `restore into "${place}"`);
