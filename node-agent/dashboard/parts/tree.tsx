import { useMemo, useState } from 'preact/hooks';
import type { FileEntry } from '../api.ts';
import { bytes } from '../format.ts';

type Folder = { folders: Map<string, Folder>; files: FileEntry[] };

/** The files of a generation in their folders. Folders that are closed cost nothing. */
export function Tree({
  files,
  selected,
  linkOf,
}: {
  files: readonly FileEntry[];
  selected: string | null;
  linkOf: (path: string) => string;
}) {
  const root = useMemo(() => foldersOf(files), [files]);
  return (
    <nav class="tree" aria-label="Files">
      <Entries folder={root} path="" selected={selected} linkOf={linkOf} />
    </nav>
  );
}

type EntriesProps = Readonly<{
  folder: Folder;
  path: string;
  selected: string | null;
  linkOf: (path: string) => string;
}>;

function Entries({ folder, path, selected, linkOf }: EntriesProps) {
  const isSmall = folder.folders.size + folder.files.length <= 30;
  return (
    <ul>
      {[...folder.folders].map(([name, inner]) => (
        <li key={name}>
          <FolderEntry
            name={name}
            folder={inner}
            path={`${path}${name}/`}
            selected={selected}
            linkOf={linkOf}
            startsOpen={isSmall || selected?.startsWith(`${path}${name}/`) === true}
          />
        </li>
      ))}
      {folder.files.map((file) => (
        <li key={file.path}>
          <a href={linkOf(file.path)} aria-current={file.path === selected ? 'true' : undefined}>
            <span>{file.path.slice(path.length)}</span>
            <small>{bytes(file.size)}</small>
          </a>
        </li>
      ))}
    </ul>
  );
}

function FolderEntry({
  name,
  startsOpen,
  ...entries
}: EntriesProps & { name: string; startsOpen: boolean }) {
  const [isOpen, setOpen] = useState(startsOpen);
  return (
    <details open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{name}</summary>
      {isOpen && <Entries {...entries} />}
    </details>
  );
}

function foldersOf(files: readonly FileEntry[]): Folder {
  const root: Folder = { folders: new Map(), files: [] };
  for (const file of files) {
    let at = root;
    for (const name of file.path.split('/').slice(0, -1)) {
      let next = at.folders.get(name);
      if (next === undefined) {
        next = { folders: new Map(), files: [] };
        at.folders.set(name, next);
      }
      at = next;
    }
    at.files.push(file);
  }
  return root;
}
