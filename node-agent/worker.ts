/** What runs in a worker thread: the heavy work, which would stall the event loop. */
import { readFileSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { type Unpacked, type UnpackInput, unpackArchive } from './archive/unpack.ts';
import { type ErrorCode, type Limits, StorageError } from './contract.ts';
import { type ParsedSave, parseSaveBody } from './save-json.ts';
import { adoptTree } from './store/adopt.ts';
import { type CommitInput, commitGeneration } from './store/commit.ts';
import { fromFileSystem } from './store/durable.ts';
import { type Described, describeFlat } from './store/flat.ts';
import type { ArchiveFacts } from './store/hash.ts';
import type { LeftOut } from './store/left-out.ts';
import type { Source } from './store/source.ts';
import {
  type Digested,
  digestSource,
  type Parallel,
  type Staged,
  type StageInput,
  stageGeneration,
} from './store/stage.ts';
import { checkTree, repackTree, repairTree, syncTree } from './store/tree.ts';

/** By how much the heavy work gives way to the event loop: at 3 a thread weighs half of one at 0. */
const NICENESS = 3;

// On Linux alone a thread has a niceness of its own: elsewhere it is that of the process. A filter of
// system calls may end the process for the call.
if (process.platform === 'linux' && !isFiltered()) {
  try {
    setPriority(Math.min(19, getPriority() + NICENESS));
  } catch {
    // A sandbox may forbid it. The work is the same without.
  }
}

/** Whether a filter decides which system calls this process may make; not known counts as that. */
function isFiltered(): boolean {
  try {
    return !/^Seccomp:\t0$/m.test(readFileSync('/proc/self/status', 'utf8'));
  } catch {
    return true;
  }
}

/** An outcome that crosses threads: an Error would lose its code. */
export type Outcome<T> =
  | { value: T }
  | { failure: { code: ErrorCode; message: string; cause: unknown } };

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

export function adopt(
  input: { root: string; folder: string; scratch: string; limits: Limits } & Parallel,
): Promise<Outcome<LeftOut>> {
  return settle(() => adoptTree(input), `migrate "${input.folder}"`);
}

export function parse(input: { body: Uint8Array; limits: Limits }): Promise<Outcome<ParsedSave>> {
  return settle(async () => parseSaveBody(input.body, input.limits), 'read the request');
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

async function settle<T>(work: () => Promise<T>, doing: string): Promise<Outcome<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    const known = fromFileSystem(error, doing);
    if (!(known instanceof StorageError)) throw error;
    return { failure: { code: known.code, message: known.message, cause: known.cause } };
  }
}
