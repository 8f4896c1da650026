import { findText } from '../_shared/content-type.ts';
import type { Diff, DiffQuerySchema, ProjectParamSchema } from '../_shared/contract/api.ts';
import { diffFiles, type FilesDiff } from '../_shared/contract/diff.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import { EDGE_LIMITS } from '../_shared/contract/limits.ts';
import { countLines, formatUnified, type Text, type TextChange } from '../_shared/unified.ts';
import type { UserContext } from './context.ts';
import { type FileContent, findFiles, getFiles } from './files.ts';
import type { GenerationRow } from './generation-row.ts';

type Input = { param: typeof ProjectParamSchema; query: typeof DiffQuerySchema };

/** `GET /projects/:project/diff?from&to`: what changed between two versions. */
export async function diffGenerations(c: UserContext<Input>) {
  const { project } = c.req.valid('param');
  const { from, to, folder, unified, path } = c.req.valid('query');
  // One after the other: what has no hashes is read whole, and two at once are too much.
  const before = await getFiles(c, { project, version: from }, folder);
  const after = await getFiles(c, { project, version: to }, folder);
  const wanted = (file: { path: string }) => path === undefined || file.path === path;
  const diff = diffFiles(before.files.filter(wanted), after.files.filter(wanted));
  if (path !== undefined && Object.values(diff).every((list) => list.length === 0)) {
    const message = `Cannot find ${JSON.stringify(path)} in "${project} v${from}" or "v${to}"`;
    throw new StorageError('not_found', message);
  }
  const answer: Diff = {
    from,
    to,
    ...diff,
    unified: unified ? await explain(c, diff, before.row, after.row) : null,
  };
  return c.json(answer);
}

/** Says what changed in the texts; what is no text is left out. */
async function explain(
  c: UserContext<Input>,
  diff: FilesDiff,
  beforeRow: GenerationRow,
  afterRow: GenerationRow,
): Promise<string> {
  const before = [...diff.removed, ...diff.modified.map((file) => file.from)];
  const after = [...diff.added, ...diff.modified.map((file) => file.to)];
  const files = diff.added.length + diff.removed.length + diff.modified.length;
  const bytes = [...before, ...after].reduce((sum, { size }) => sum + size, 0);
  if (files > EDGE_LIMITS.diffFiles || bytes > EDGE_LIMITS.diffBytes) throw tooMuch(c);
  const old = await readTexts(c, beforeRow, before);
  const now = await readTexts(c, afterRow, after);
  const paths = [...new Set([...before, ...after].map((file) => file.path))].sort();
  const changes = paths.flatMap((path): TextChange[] => {
    const [from, to] = [toText(old.get(path)), toText(now.get(path))];
    return from === undefined || to === undefined ? [] : [{ path, from, to }];
  });
  const lines = changes.reduce((sum, change) => sum + countLines(change), 0);
  if (lines > EDGE_LIMITS.diffLines) throw tooMuch(c);
  return formatUnified(changes);
}

/** Reads files of the generation that was listed, not of one that has replaced it since. */
async function readTexts(
  c: UserContext<Input>,
  row: GenerationRow,
  wanted: readonly { path: string }[],
): Promise<Map<string, FileContent>> {
  if (wanted.length === 0) return new Map();
  const asked = { project: row.project_id, version: row.version };
  const paths = wanted.map((file) => file.path);
  const found = await findFiles(c, asked, c.req.valid('query').folder, paths);
  if (found.row.object_key !== row.object_key || found.row.sha256 !== row.sha256) {
    const message = 'Cannot compare: a version was replaced meanwhile, try again';
    throw new StorageError('unavailable', message);
  }
  return new Map((await found.read()).map((file) => [file.path, file]));
}

/** `null` where there is no file, `undefined` where it is no text. */
function toText(file: FileContent | undefined): Text | null | undefined {
  if (file === undefined) return null;
  const text = findText(file.bytes);
  return text === null ? undefined : { mode: file.mode, text };
}

function tooMuch(c: UserContext<Input>): StorageError {
  const { project } = c.req.valid('param');
  const { from, to } = c.req.valid('query');
  const { diffFiles: files, diffBytes, diffLines } = EDGE_LIMITS;
  return new StorageError(
    'too_large',
    `Cannot compare "${project} v${from}" with "v${to}" line by line: over ${files} files, ${diffBytes} bytes or ${diffLines} lines changed; name one file with path, or leave unified out`,
  );
}
