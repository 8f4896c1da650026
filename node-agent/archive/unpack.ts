import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  ArchiveNames,
  digestText,
  isReserved,
  type Limits,
  type Manifest,
  type ManifestEntry,
  parseManifest,
  StorageError,
  type TarHeader,
} from '../contract.ts';
import { PRIVATE_FILE, PRIVATE_FOLDER, privateMode } from '../disk/private.ts';
import { writeAll } from '../disk/write-all.ts';
import { checkListed, MANIFEST_BYTES } from './own-manifest.ts';
import { readArchive } from './read-tar.ts';

export type UnpackInput = Readonly<{
  archive: string;
  /** The folder to make; on failure the caller removes it. */
  folder: string;
  limits: Limits;
  /** Whether its hash is one that was recorded: then it is no bomb, however well it deflated. */
  trusted: boolean;
  /** Whether it is a tar that a save of this host laid down: its manifest comes last. @default false */
  isLaidDown?: boolean;
}>;

/** What was in an archive, every byte of it checked against its manifest. */
export type Unpacked = Readonly<{
  manifest: Manifest;
  files: number;
  bytes: number;
  /** Of what was in it, whatever its manifest says. */
  digest: string;
}>;

type Body = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** More than this many bytes of content for one of the archive is no source code but a bomb. */
const MAX_RATIO = 250;
/** Archives of less content than this are let be: a file of zeros is no attack. */
const RATIO_FROM_BYTES = 64 * 1024 * 1024;

/**
 * Unpacks an archive into a new folder. Nothing in it is trusted: files alone are taken, every
 * name passes the validator, nothing is written outside the folder, sizes and ratio are bounded.
 * Archives of the old system, with one folder around everything, are read too.
 *
 * @throws StorageError `corrupt`, `invalid_input` that names the entry, `too_large`
 */
export async function unpackArchive(input: UnpackInput): Promise<Unpacked> {
  const { archive, folder, limits, trusted, isLaidDown = false } = input;
  const budget = new Budget(limits, trusted ? null : statSync(archive).size);
  const names = new ArchiveNames(limits, { isOurs: isLaidDown });
  const found = {
    source: new Map<string, ManifestEntry>(),
    artifacts: new Map<string, ManifestEntry>(),
  };
  const folders = new Set<string>();
  let manifest: Manifest | null = null;

  mkdirSync(folder, PRIVATE_FOLDER);
  mkdirSync(join(folder, 'source'), PRIVATE_FOLDER);
  for await (const { header, body } of readArchive(archive)) {
    if (header.type === 'folder') {
      // It follows from its files.
      names.passOver();
      continue;
    }
    if (header.type !== 'file') throw refuse(header.name, `it is no file but a ${header.type}`);
    const name = names.read(header.name);
    if (name === null) continue;
    const { folder: kind, path } = name;
    if (kind === null) {
      manifest = parseManifest(await readText(header, body), 'manifest.json');
      continue;
    }
    // Before anything is written: a header may promise more than there is room for.
    budget.take(header.name, header.size);
    const file = join(folder, kind, path);
    const parent = dirname(file);
    if (!folders.has(parent)) {
      mkdirSync(parent, { recursive: true, mode: PRIVATE_FOLDER });
      folders.add(parent);
    }
    const entry = await writeEntry(file, header, body);
    found[kind].set(path, { ...entry, path });
  }
  if (manifest === null) {
    throw new StorageError('corrupt', 'Cannot unpack the archive: it has no manifest.json');
  }
  checkContent(manifest, found);
  const text = `${JSON.stringify(manifest, null, 2)}\n`;
  writeFileSync(join(folder, 'manifest.json'), text, { mode: PRIVATE_FILE });
  const named = digestText([...found.source.values()], [...found.artifacts.values()]);
  const digest = createHash('sha256').update(named).digest('hex');
  return { manifest, files: found.source.size, bytes: budget.total, digest };
}

/** Every byte that is unpacked is taken from it. */
class Budget {
  total = 0;
  readonly #limits: Limits;
  readonly #ratioBytes: number;

  /** @param archiveBytes for the bound on their ratio; `null` for none */
  constructor(limits: Limits, archiveBytes: number | null) {
    this.#limits = limits;
    this.#ratioBytes =
      archiveBytes === null ? Infinity : Math.max(RATIO_FROM_BYTES, archiveBytes * MAX_RATIO);
  }

  take(name: string, bytes: number): void {
    this.total += bytes;
    if (bytes > this.#limits.fileBytes || this.total > this.#limits.totalBytes) {
      throw new StorageError(
        'too_large',
        `Cannot unpack "${name}": a generation has at most ${this.#limits.totalBytes} bytes`,
      );
    }
    if (this.total > this.#ratioBytes) {
      throw new StorageError(
        'corrupt',
        `Cannot unpack "${name}": the archive holds over ${MAX_RATIO} times its size`,
      );
    }
  }
}

async function readText(header: TarHeader, body: Body): Promise<string> {
  if (header.size > MANIFEST_BYTES) throw refuse(header.name, 'it is too large');
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces).toString();
}

async function writeEntry(
  path: string,
  header: TarHeader,
  body: Body,
): Promise<Omit<ManifestEntry, 'path'>> {
  const mode = header.mode | 0o600;
  const hash = createHash('sha256');
  const fd = openSync(path, 'wx', privateMode(mode));
  try {
    for await (const piece of body) {
      hash.update(piece);
      writeAll(fd, piece);
    }
  } finally {
    closeSync(fd);
  }
  return { size: header.size, sha256: hash.digest('hex'), mode };
}

/** A manifest with hashes must fit the files one by one; an old one must name them. */
function checkContent(
  manifest: Manifest,
  found: Record<'source' | 'artifacts', Map<string, ManifestEntry>>,
): void {
  if (manifest.entries === undefined) {
    const missing = manifest.files.find((path) => !found.source.has(path) && !isReserved(path));
    if (missing !== undefined) throw differs(missing);
    return;
  }
  checkListed(manifest.files, manifest.entries);
  for (const [kind, entries] of [
    ['source', manifest.entries],
    ['artifacts', manifest.artifacts ?? []],
  ] as const) {
    if (entries.length !== found[kind].size) throw differs(`${kind}/`);
    for (const entry of entries) {
      const file = found[kind].get(entry.path);
      if (file?.sha256 !== entry.sha256 || file.size !== entry.size) throw differs(entry.path);
    }
  }
}

function differs(path: string): StorageError {
  return new StorageError(
    'corrupt',
    `Cannot unpack the archive: "${path}" is not what the manifest says`,
  );
}

function refuse(name: string, problem: string): StorageError {
  return new StorageError('invalid_input', `Cannot unpack ${JSON.stringify(name)}: ${problem}`);
}
