import type {
  FileEntry,
  FilesQuerySchema,
  Page,
  VersionParamSchema,
} from '../_shared/contract/api.ts';
import type { UserContext } from './context.ts';
import { getFiles } from './files.ts';

type Input = { param: typeof VersionParamSchema; query: typeof FilesQuerySchema };

/** `GET /projects/:project/:version/files`: a generation's files, by path. */
export async function listFiles(c: UserContext<Input>) {
  const { generation, folder, limit, cursor } = c.req.valid('query');
  const asked = { ...c.req.valid('param'), generation };
  const { files } = await getFiles(c, asked, folder, { limit: limit + 1, after: cursor });
  const items = files.slice(0, limit);
  const page: Page<FileEntry> = {
    items,
    next_cursor: files.length > limit ? (items.at(-1)?.path ?? null) : null,
  };
  return c.json(page);
}
