import { posix } from 'node:path';
import { readTar } from './archive/read-tar.ts';
import { StorageError, type TarHeader } from './contract.ts';
import type { LinkPolicy } from './store/folder.ts';
import type { GenerationWriter } from './writer.ts';

/**
 * Writes the files of a tar, gzipped or not, as it streams in. Its names are relative to the
 * generation's source; `./` before them, which `tar -C DIR .` writes, does not count. A hard link is
 * a file like that which it is a link to.
 *
 * @throws StorageError `invalid_input` that names the entry, `too_large`, `corrupt`
 */
export async function writeTar(
  tar: AsyncIterable<Uint8Array>,
  writer: GenerationWriter,
  links: LinkPolicy,
): Promise<void> {
  const tree = new TarTree(writer);
  for await (const { header, body } of readTar(tar)) {
    const path = pathOf(header);
    switch (header.type) {
      case 'folder':
        writer.passOver();
        break;
      case 'file':
        await writer.write(path, body, { mode: header.mode });
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
/** Links of one tar that are followed, also those behind others. */
const MAX_FOLLOWED = 2000;

/** What a tar holds, to find what its links lead to: that may come after them. */
class TarTree {
  readonly #writer: GenerationWriter;
  readonly #files: string[] = [];
  readonly #known = new Set<string>();
  readonly #links = new Map<string, string>();

  constructor(writer: GenerationWriter) {
    this.#writer = writer;
  }

  addFile(path: string): void {
    this.#files.push(path);
    this.#known.add(path);
  }

  addLink(path: string, target: string): void {
    this.#links.set(path, target);
  }

  /** Puts in the place of each link what it leads to. */
  async follow(): Promise<void> {
    type Pending = { path: string; at: string; through: readonly string[] };
    const pending: Pending[] = [...this.#links.keys()].map((path) => ({
      ...{ path, at: path },
      through: [`${path}/`],
    }));
    const files = [...this.#files];
    let followed = 0;
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const { path, at, through } = next;
      followed++;
      if (followed > MAX_FOLLOWED) {
        const message = `Cannot use path ${JSON.stringify(path)}: over ${MAX_FOLLOWED} links are to be followed`;
        throw new StorageError('too_large', message);
      }
      const target = this.#resolve(at, path);
      if (this.#known.has(target)) {
        await this.#writer.copy(path, target);
        continue;
      }
      const below = target === '' ? '' : `${target}/`;
      if (through.some((folder) => folder.startsWith(below))) {
        throw refuse(path, 'it is a link to a folder that it lies in');
      }
      const inside = files.filter((file) => file.startsWith(below));
      const links = [...this.#links.keys()].filter((link) => link.startsWith(below));
      if (inside.length + links.length === 0) throw refuse(path, 'it is a link that leads nowhere');
      for (const file of inside) {
        await this.#writer.copy(`${path}/${file.slice(below.length)}`, file);
      }
      for (const link of links) {
        const behind = `${path}/${link.slice(below.length)}`;
        pending.push({ path: behind, at: link, through: [...through, below, `${link}/`] });
      }
    }
  }

  /** Where a link leads, through others; relative to the top. */
  #resolve(link: string, shown: string): string {
    let resolved = '';
    let rest = link.split('/');
    for (let hops = 0; rest.length > 0; ) {
      const [part, ...more] = rest;
      rest = more;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (resolved === '') throw refuse(shown, 'it is a link that leads out of the tar');
        resolved = posix.dirname(resolved) === '.' ? '' : posix.dirname(resolved);
        continue;
      }
      const here = resolved === '' ? part! : `${resolved}/${part}`;
      const target = this.#links.get(here);
      if (target === undefined) resolved = here;
      else {
        hops++;
        if (hops > MAX_HOPS) throw refuse(shown, 'it is a link that leads back to itself');
        if (target.startsWith('/')) throw refuse(shown, 'it is a link that leads out of the tar');
        rest = [...target.split('/'), ...rest];
      }
    }
    return resolved;
  }
}

function refuse(path: string, problem: string): StorageError {
  return new StorageError('invalid_input', `Cannot use path ${JSON.stringify(path)}: ${problem}`);
}
