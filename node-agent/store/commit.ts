import { existsSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { formatRef, StorageError } from '../contract.ts';
import { makeFolder, syncPathHere } from './durable.ts';
import { type FolderChange, stampOf } from './project-stamp.ts';
import { type Staged, type StageInput, stageGeneration } from './stage.ts';

/** What is to be saved, and where it is to lie in the end. */
export type CommitInput = StageInput &
  Readonly<{
    place: string;
    /** The folder above it of whose own place others take care. */
    outermost: string;
  }>;

/** What was staged and put in place. */
export type Committed = Staged & Readonly<{ change: FolderChange }>;

/**
 * Stages a generation and puts it in its place. The rename, once it lasts, is the commit: all of
 * it in one thread, for each way to another and back takes as long as an fsync. What takes the place
 * of another generation goes by a journal instead: `replace.ts`.
 *
 * @throws StorageError `conflict` where the folder is there already
 */
export async function commitGeneration(input: CommitInput): Promise<Committed> {
  const { folder, place, outermost } = input;
  const staged = await stageGeneration(input);
  await makeFolder(dirname(place), outermost);
  const before = stampOf(dirname(place));
  if (existsSync(place)) {
    throw new StorageError('conflict', `Cannot save ${formatRef(input.ref)}: its folder exists`);
  }
  renameSync(folder, place);
  const after = stampOf(dirname(place));
  syncPathHere(dirname(place));
  return { ...staged, change: { before, after } };
}
