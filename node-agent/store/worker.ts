/** What runs in a worker thread: the heavy work, which would stall the event loop. */
import { type Unpacked, type UnpackInput, unpackArchive } from '../archive/unpack.ts';
import type { Limits } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { lowerPriority } from '../threads/niceness.ts';
import { type Outcome, toOutcome } from '../threads/outcome.ts';
import { type CommitInput, type Committed, commitGeneration } from './commit.ts';
import type { ArchiveFacts } from './hash.ts';
import { type Installed, type InstallInput, installArchives } from './install-archive.ts';
import { type LayOutInput, layOutTree } from './lay-out.ts';
import type { LeftOut } from './left-out.ts';
import { convertTree } from './legacy/convert.ts';
import { type Described, describeFlat } from './legacy/flat.ts';
import { settleArchive } from './settle-archive.ts';
import {
  type Digested,
  type DigestInput,
  digestSource,
  type Parallel,
  type Staged,
  type StageInput,
  stageGeneration,
} from './stage.ts';
import { checkTree, repackTree, syncTree } from './tree.ts';

lowerPriority();

export function stage(input: StageInput): Promise<Outcome<Staged>> {
  return toResult(() => stageGeneration(input), `save into "${input.folder}"`);
}

export function commit(input: CommitInput): Promise<Outcome<Committed>> {
  return toResult(() => commitGeneration(input), `save into "${input.folder}"`);
}

export function install(inputs: readonly InstallInput[]): Promise<Outcome<Installed>[]> {
  return installArchives(inputs);
}

export function digest(input: DigestInput): Promise<Outcome<Digested>> {
  return toResult(async () => digestSource(input), 'read what is to be saved');
}

export function unpack(input: UnpackInput): Promise<Outcome<Unpacked>> {
  return toResult(() => unpackArchive(input), 'unpack an archive');
}

export function sync(folder: string): Promise<Outcome<void>> {
  return toResult(async () => syncTree(folder), `sync "${folder}"`);
}

export function layOut(input: LayOutInput): Promise<Outcome<void>> {
  return toResult(() => layOutTree(input), `lay out "${input.folder}"`);
}

export function repack(
  input: { folder: string; scratch: string } & Parallel,
): Promise<Outcome<ArchiveFacts>> {
  return toResult(() => repackTree(input), `pack "${input.folder}"`);
}

export function settle(
  input: { folder: string; scratch: string } & Parallel,
): Promise<Outcome<ArchiveFacts | null>> {
  return toResult(() => settleArchive(input), `pack "${input.folder}"`);
}

export function convert(
  input: { root: string; folder: string; scratch: string; limits: Limits } & Parallel,
): Promise<Outcome<LeftOut>> {
  return toResult(() => convertTree(input), `migrate "${input.folder}"`);
}

export function check(input: { folder: string; digest: string }): Promise<Outcome<string[]>> {
  return toResult(async () => checkTree(input), `verify "${input.folder}"`);
}

export function describe(input: {
  root: string;
  projectId: string;
  limits: Limits;
}): Promise<Outcome<Described>> {
  return toResult(async () => describeFlat(input), `read "${input.projectId}"`);
}

function toResult<T>(work: () => Promise<T>, doing: string): Promise<Outcome<T>> {
  return toOutcome(work, (error) => fromFileSystem(error, doing));
}
