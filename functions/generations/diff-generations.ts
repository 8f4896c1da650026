import { findText } from '../_shared/content-type.ts';
import type { Diff, DiffQuerySchema, ProjectParamSchema } from '../_shared/contract/api.ts';
import { diffFiles, type FilesDiff } from '../_shared/contract/diff.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import { EDGE_LIMITS } from '../_shared/contract/limits.ts';
import { formatUnified, type Text } from '../_shared/unified.ts';
import type { UserContext } from './context.ts';
import { type FileContent, findFiles, getFiles } from './files.ts';

type Input = { param: typeof ProjectParamSchema; query: typeof DiffQuerySchema };

/** `GET /projects/:project/diff?from&to`: what changed between two versions. */
export async function diffGenerations(c: UserContext<Input>) {
  const { project } = c.req.valid('param');
  const { from, to, folder, unified, path } = c.req.valid('query');
  const [before, after] = await Promise.all(
    [from, to].map(async (version) => {
      const { files } = await getFiles(c, { project, version }, folder);
      return path === undefined ? files : files.filter((file) => file.path === path);
    }),
  );
  const diff = diffFiles(before!, after!);
  if (path !== undefined && before!.length + after!.length === 0) {
    const message = `Cannot find ${JSON.stringify(path)} in "${project} v${from}" or "v${to}"`;
    throw new StorageError('not_found', message);
  }
  const answer: Diff = { from, to, ...diff, unified: unified ? await explain(c, diff) : null };
  return c.json(answer);
}

/** Says what changed in the texts; what is no text is left out. */
async function explain(c: UserContext<Input>, diff: FilesDiff): Promise<string> {
  const { project } = c.req.valid('param');
  const { from, to, folder } = c.req.valid('query');
  const before = [...diff.removed, ...diff.modified.map((file) => file.from)];
  const after = [...diff.added, ...diff.modified.map((file) => file.to)];
  const files = diff.added.length + diff.removed.length + diff.modified.length;
  const bytes = [...before, ...after].reduce((sum, { size }) => sum + size, 0);
  if (files > EDGE_LIMITS.diffFiles || bytes > EDGE_LIMITS.diffBytes) {
    throw new StorageError(
      'too_large',
      `Cannot compare "${project} v${from}" with "v${to}" line by line: over ${EDGE_LIMITS.diffFiles} files or ${EDGE_LIMITS.diffBytes} bytes changed; name one file with path, or leave unified out`,
    );
  }
  const read = async (version: number, wanted: readonly { path: string }[]) => {
    if (wanted.length === 0) return new Map<string, FileContent>();
    const paths = wanted.map((file) => file.path);
    const found = await findFiles(c, { project, version }, folder, paths);
    return new Map((await found.read()).map((file) => [file.path, file]));
  };
  const [old, now] = await Promise.all([read(from, before), read(to, after)]);
  const paths = [...new Set([...before, ...after].map((file) => file.path))].sort();
  const changes = paths.flatMap((path) => {
    const change = { path, from: toText(old.get(path)), to: toText(now.get(path)) };
    return change.from === undefined || change.to === undefined
      ? []
      : [{ path, from: change.from, to: change.to }];
  });
  return formatUnified(changes);
}

/** `null` where there is no file, `undefined` where it is no text. */
function toText(file: FileContent | undefined): Text | null | undefined {
  if (file === undefined) return null;
  const text = findText(file.bytes);
  return text === null ? undefined : { mode: file.mode, text };
}
