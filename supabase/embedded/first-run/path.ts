import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Receipt } from '../../../node-agent/index.ts';
import type { House, Visitor } from './house.ts';

/** What happened, in the form that `--json` prints. Times are milliseconds. */
export type Report = Readonly<{
  ok: boolean;
  project_id: string;
  version: number;
  generation_id: string;
  saved: { files: number; bytes: number; ms: number; sha256: string | null };
  uploaded: { ms: number; object_key: string; bytes: number | null; status: string };
  /** Generations that the owner sees, those of earlier starts among them. */
  listed: number;
  download: {
    status: number;
    sha256: string;
    identical_files: number;
    different_files: number;
  };
  other_user: { status: number };
}>;

const UPLOAD_TIMEOUT_MS = 120_000;
const UPLOAD_POLL_MS = 100;
const REQUEST_TIMEOUT_MS = 60_000;
const run = promisify(execFile);

/** Goes the whole path once. `ok` where every step was as it must be. */
export async function runPath(
  house: House,
  input: {
    folder: string;
    projectId: string;
    exclude: readonly string[];
    say: (line: string) => void;
  },
): Promise<Report> {
  const { storage, owner, stranger } = house;
  input.say(`Saving "${input.folder}" as a generation of "${input.projectId}" …`);
  const began = performance.now();
  const receipt = await storage.saveFolder({
    folder: input.folder,
    projectId: input.projectId,
    ownerId: owner.id,
    exclude: input.exclude,
  });
  const saved = performance.now();
  const { objectKey, status, sha256, archiveBytes } = await waitForUpload(house, receipt);
  const uploaded = performance.now();

  const versions = await listAll(house, owner, receipt.projectId);
  const listed = versions.find((item) => item.version === receipt.version);
  const download = await downloadAndCompare(house, receipt, input.folder);
  const path = `/projects/${receipt.projectId}/${receipt.version}`;
  const others = [
    await call(house, stranger, 'GET', path),
    await call(house, stranger, 'POST', `${path}/download`),
    await call(house, stranger, 'GET', `/projects/${receipt.projectId}`),
  ];
  const refused = others.find((answer) => answer.status !== 404) ?? others[0]!;

  return {
    ok:
      listed?.sha256 === sha256 &&
      download.status === 200 &&
      download.sha256 === sha256 &&
      download.different_files === 0 &&
      download.identical_files === receipt.fileCount &&
      refused.status === 404,
    project_id: receipt.projectId,
    version: receipt.version,
    generation_id: receipt.generationId,
    saved: {
      files: receipt.fileCount,
      bytes: receipt.bytes,
      ms: Math.round(saved - began),
      sha256,
    },
    uploaded: {
      ms: Math.round(uploaded - saved),
      object_key: objectKey,
      bytes: archiveBytes,
      status,
    },
    listed: versions.length,
    download,
    other_user: { status: refused.status },
  };
}

async function waitForUpload({ storage, problems }: House, receipt: Receipt) {
  const deadline = performance.now() + UPLOAD_TIMEOUT_MS;
  while (performance.now() < deadline) {
    await storage.drain(deadline - performance.now());
    const summary = await storage.show(receipt);
    if (summary.status === 'verified') return summary;
    if (summary.status === 'failed') throw new Error(summary.failure ?? 'The upload failed');
    await sleep(UPLOAD_POLL_MS);
  }
  throw new Error('The upload took too long', { cause: problems.at(-1) });
}

type Listed = { version: number; sha256: string };

async function listAll(house: House, visitor: Visitor, projectId: string): Promise<Listed[]> {
  const found: Listed[] = [];
  let query = '?limit=200';
  for (;;) {
    const answer = await call(house, visitor, 'GET', `/projects/${projectId}${query}`);
    if (answer.status !== 200) return found;
    const page = (await answer.json()) as { items: Listed[]; next_cursor: string | null };
    found.push(...page.items);
    if (page.next_cursor === null) return found;
    query = `?limit=200&cursor=${encodeURIComponent(page.next_cursor)}`;
  }
}

async function downloadAndCompare(house: House, receipt: Receipt, folder: string) {
  const nothing = { sha256: '', identical_files: 0, different_files: receipt.fileCount };
  const path = `/projects/${receipt.projectId}/${receipt.version}/download`;
  const signed = await call(house, house.owner, 'POST', path);
  if (signed.status !== 200) return { status: signed.status, ...nothing };
  const { url } = (await signed.json()) as { url: string };
  // Nothing but the URL: whoever has it needs no key and no token.
  const answer = await fetch(url, { signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
  if (answer.status !== 200) return { status: answer.status, ...nothing };
  const archive = Buffer.from(await answer.arrayBuffer());
  const sha256 = createHash('sha256').update(archive).digest('hex');
  return { status: 200, sha256, ...(await compare(archive, house, receipt, folder)) };
}

/** Unpacks the archive with plain `tar` and compares every file with the one in the folder. */
async function compare(archive: Buffer, { storage }: House, receipt: Receipt, folder: string) {
  const scratch = await mkdtemp(join(tmpdir(), 'codebegen-first-run-'));
  try {
    await writeFile(join(scratch, 'archive.tar.gz'), archive);
    const unpacked = join(scratch, 'unpacked');
    await mkdir(unpacked);
    await run('tar', ['xzf', join(scratch, 'archive.tar.gz'), '-C', unpacked]);
    // What it says of itself is no file of the generation.
    await rm(join(unpacked, '.codebegen'), { recursive: true });
    const expected = new Set((await storage.get(receipt)).manifest.files);
    let identical = 0;
    let different = 0;
    for (const entry of await readdir(unpacked, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = relative(unpacked, join(entry.parentPath, entry.name));
      const same =
        expected.delete(path) &&
        (await readFile(join(unpacked, path))).equals(await readFile(join(folder, path)));
      if (same) identical++;
      else different++;
    }
    return { identical_files: identical, different_files: different + expected.size };
  } finally {
    await rm(scratch, { recursive: true });
  }
}

/** Calls the Edge Function as a user of the web app. */
function call(house: House, visitor: Visitor, method: string, path: string): Promise<Response> {
  return fetch(`${house.url}/functions/v1/generations${path}`, {
    method,
    headers: { authorization: `Bearer ${visitor.token}`, apikey: house.keys.publishableKey },
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  });
}
