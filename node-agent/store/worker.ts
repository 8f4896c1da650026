/** What runs in a worker thread: the heavy work, which would stall the event loop. */
import { type Unpacked, type UnpackInput, unpackArchive } from '../archive/unpack.ts';
import type { Limits } from '../contract.ts';
import { lowerPriority } from '../threads/niceness.ts';
import { type Outcome, toOutcome } from '../threads/outcome.ts';
import { type CommitInput, commitGeneration } from './commit.ts';
import { fromFileSystem } from './file-errors.ts';
import type { ArchiveFacts } from './hash.ts';
import type { LeftOut } from './left-out.ts';
import { convertTree } from './legacy/convert.ts';
import { type Described, describeFlat } from './legacy/flat.ts';
import type { Source } from './source.ts';
import {
  type Digested,
  digestSource,
  type Parallel,
  type Staged,
  type StageInput,
  stageGeneration,
} from './stage.ts';
import { checkTree, repackTree, repairTree, syncTree } from './tree.ts';

lowerPriority();

export function stage(input: StageInput & Parallel): Promise<Outcome<Staged>> {
  return settle(() => stageGeneration(input), `save into "${input.folder}"`);
}

export function commit(input: CommitInput & Parallel): Promise<Outcome<Staged>> {
  return settle(() => commitGeneration(input), `save into "${input.folder}"`);
}

export function digest(input: { source: Source; limits: Limits }): Promise<Outcome<Digested>> {
  return settle(async () => digestSource(input.source, input.limits), 'read what is to be saved');
}

export function unpack(input: UnpackInput): Promise<Outcome<Unpacked>> {
  return settle(() => unpackArchive(input), 'unpack an archive');
}

export function sync(folder: string): Promise<Outcome<void>> {
  return settle(async () => syncTree(folder), `sync "${folder}"`);
}

export function repair(input: {
  folder: string;
  scratch: string;
  limits: Limits;
}): Promise<Outcome<boolean>> {
  return settle(() => repairTree(input), `repair "${input.folder}"`);
}

export function repack(
  input: { folder: string; scratch: string } & Parallel,
): Promise<Outcome<ArchiveFacts>> {
  return settle(() => repackTree(input), `pack "${input.folder}"`);
}

export function convert(
  input: { root: string; folder: string; scratch: string; limits: Limits } & Parallel,
): Promise<Outcome<LeftOut>> {
  return settle(() => convertTree(input), `migrate "${input.folder}"`);
}

export function check(folder: string): Promise<Outcome<string[]>> {
  return settle(async () => checkTree(folder), `verify "${folder}"`);
}

export function describe(input: {
  root: string;
  projectId: string;
  limits: Limits;
}): Promise<Outcome<Described>> {
  return settle(async () => describeFlat(input), `read "${input.projectId}"`);
}

function settle<T>(work: () => Promise<T>, doing: string): Promise<Outcome<T>> {
  return toOutcome(work, (error) => fromFileSystem(error, doing));
}
