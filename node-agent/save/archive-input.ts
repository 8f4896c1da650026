import { setImmediate as breathe } from 'node:timers/promises';
import {
  isReserved,
  pathProblem,
  StorageError,
  type TarEntry,
  type TarHeader,
} from '../contract.ts';
import type { LinkPolicy } from '../store/source.ts';
import type { GenerationWriter } from './writer.ts';

/**
 * Writes the files of a tar or a zip as they are read. Its names are relative to the generation's
 * source; `./` before them, which `tar -C DIR .` writes, does not count. A hard link is a file like that
 * which it is a link to. What an archive of ours says of itself is left out: what was downloaded can be
 * saved again.
 *
 * @throws StorageError `invalid_input` that names the entry, `too_large`; whatever the entries throw
 */
export async function writeEntries(
  entries: AsyncIterable<TarEntry>,
  writer: GenerationWriter,
  links: LinkPolicy,
): Promise<void> {
  const tree = new LinkTree(writer);
  for await (const { header, body } of entries) {
    const path = pathOf(header);
    if (header.type !== 'folder' && isReserved(path)) {
      writer.leaveOut(path, 'reserved');
      continue;
    }
    switch (header.type) {
      case 'folder':
        writer.passOver();
        break;
      case 'file':
        await writer.write(path, body, { mode: header.mode, size: header.size });
        tree.addFile(path);
        break;
      case 'hardlink':
        await writer.copy(path, header.linkName.replace(/^(\.\/)+/, ''));
        tree.addFile(path);
        break;
      case 'symlink':
        if (links === 'error') throw refuse(path, 'it is a symlink (links=skip leaves it out)');
        if (links === 'skip') writer.leaveOut(path, 'link');
        else {
          writer.passOver();
          tree.addLink(path, header.linkName);
        }
    }
  }
  await tree.follow();
}

function pathOf({ name }: TarHeader): string {
  const path = name.replace(/^(\.\/)+/, '');
  // What the decoder puts in the place of bytes that are none.
  if (path.includes('\ufffd')) throw refuse(path, 'its name is not UTF-8');
  return path;
}

/** Links that lead to links: more are a circle. As Linux has it. */
const MAX_HOPS = 40;
/** Bytes of what a link leads to, as Linux has it. */
const MAX_TARGET = 4096;
/** Links of one archive that are followed, also those behind others, ... */
const MAX_FOLLOWED = 2000;
/** ... and parts of paths that are looked up for that. */
const MAX_STEPS = 1_000_000;

type Pending = Readonly<{
  /** Where its content goes. */
  path: string;
  /** Where it lies. */
  at: string;
  /** The folders around it, each with a slash at its end: a link to one of those is a circle. */
  through: readonly string[];
}>;

/** What an archive holds, to find what its links lead to: that may come after them. */
class LinkTree {
  readonly #writer: GenerationWriter;
  readonly #files = new Set<string>();
  readonly #links = new Map<string, string>();
  #steps = 0;

  constructor(writer: GenerationWriter) {
    this.#writer = writer;
  }

  addFile(path: string): void {
    this.#files.add(path);
  }

  /** @throws StorageError `invalid_input`, `too_large` */
  addLink(path: string, target: string): void {
    const problem = pathProblem(path);
    if (problem !== null) throw refuse(path, problem);
    if (Buffer.byteLength(target) > MAX_TARGET) {
      throw refuse(path, `it is a link to a path of over ${MAX_TARGET} bytes`);
    }
    this.#links.set(path, target);
    if (this.#links.size > MAX_FOLLOWED) throw tooMany(path);
  }

  /** Puts in the place of each link what it leads to. */
  async follow(): Promise<void> {
    const files = new SortedPaths(this.#files);
    const links = new SortedPaths(this.#links.keys());
    const pending: Pending[] = [...this.#links.keys()].map((path) => ({
      ...{ path, at: path },
      through: [`${path}/`],
    }));
    let found = pending.length;
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const { path, at, through } = next;
      const target = this.#resolve(at, path);
      if (this.#files.has(target)) {
        await this.#writer.copy(path, target);
        continue;
      }
      const below = target === '' ? '' : `${target}/`;
      if (through.some((folder) => folder.startsWith(below))) {
        throw refuse(path, 'it is a link to a folder that it lies in');
      }
      const [inside, behind] = [files.below(below), links.below(below)];
      if (inside.length + behind.length === 0)
        throw refuse(path, 'it is a link that leads nowhere');
      for (const file of inside) {
        await this.#writer.copy(`${path}/${file.slice(below.length)}`, file);
      }
      found += behind.length;
      if (found > MAX_FOLLOWED) throw tooMany(path);
      for (const link of behind) {
        const goesTo = `${path}/${link.slice(below.length)}`;
        const problem = pathProblem(goesTo);
        if (problem !== null) throw refuse(goesTo, problem);
        pending.push({ path: goesTo, at: link, through: [...through, below, `${link}/`] });
      }
      // Others get their turn.
      await breathe();
    }
  }

  /** Where a link leads, through others; relative to the top. */
  #resolve(link: string, shown: string): string {
    const resolved: string[] = [];
    // What is left of the path, its next part last.
    const rest = link.split('/').reverse();
    for (let hops = 0, part = rest.pop(); part !== undefined; part = rest.pop()) {
      this.#steps++;
      if (this.#steps > MAX_STEPS) throw tooMany(shown);
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (resolved.pop() === undefined) {
          throw refuse(shown, 'it is a link that leads out of the archive');
        }
        continue;
      }
      resolved.push(part);
      const target = this.#links.get(resolved.join('/'));
      if (target === undefined) continue;
      hops++;
      if (hops > MAX_HOPS) throw refuse(shown, 'it is a link that leads back to itself');
      if (target.startsWith('/')) throw refuse(shown, 'it is a link that leads out of the archive');
      resolved.pop();
      rest.push(...target.split('/').reverse());
      if (rest.length > MAX_TARGET) throw refuse(shown, 'it is a link to a path that is too long');
    }
    return resolved.join('/');
  }
}

/** Paths in order, so that those below a folder lie side by side. */
class SortedPaths {
  readonly #paths: readonly string[];

  constructor(paths: Iterable<string>) {
    this.#paths = [...paths].sort();
  }

  /** @param prefix of a folder, with a slash at its end; empty: all */
  below(prefix: string): readonly string[] {
    let [begin, end] = [0, this.#paths.length];
    while (begin < end) {
      const middle = (begin + end) >> 1;
      if (this.#paths[middle]! < prefix) begin = middle + 1;
      else end = middle;
    }
    while (end < this.#paths.length && this.#paths[end]!.startsWith(prefix)) end++;
    return this.#paths.slice(begin, end);
  }
}

function tooMany(path: string): StorageError {
  return new StorageError(
    'too_large',
    `Cannot use path ${JSON.stringify(path)}: over ${MAX_FOLLOWED} links are to be followed`,
  );
}

function refuse(path: string, problem: string): StorageError {
  return new StorageError('invalid_input', `Cannot use path ${JSON.stringify(path)}: ${problem}`);
}
