import type { UndeleteQuerySchema, VersionParamSchema } from '../_shared/contract/api.ts';
import type { UndeletedGeneration } from '../_shared/contract/deletions.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import { formatRef, notFound } from '../_shared/contract/ref.ts';
import { callDatabase } from '../_shared/database.ts';
import type { UserContext } from './context.ts';

type Input = { param: typeof VersionParamSchema; query: typeof UndeleteQuerySchema };
type Undeleted =
  | (Pick<UndeletedGeneration, 'generation_id' | 'status' | 'digest'> & {
      outcome: 'undeleted' | 'live';
    })
  | { outcome: 'missing' | 'purged' | 'no_content' };

/**
 * `POST /projects/:project/:version/undelete`: undoes a deletion, or a replacement. Where there is
 * nothing to undo, all is as it is.
 */
export async function undeleteGeneration(c: UserContext<Input>) {
  const { project, version } = c.req.valid('param');
  const { generation, digest } = c.req.valid('query');
  const ref = { projectId: project, version };
  const answer = await callDatabase<Undeleted | null>(
    c.var.database,
    'storage_undelete_generation',
    {
      ...{ p_project_id: project, p_version: version },
      ...{ p_generation_id: generation ?? null, p_digest: digest ?? null },
    },
    `undelete ${formatRef(ref)}`,
  );
  switch (answer?.outcome) {
    case 'undeleted':
    case 'live': {
      const { generation_id, status, digest } = answer;
      const undeleted: UndeletedGeneration = {
        ...{ project_id: project, version, generation_id, status, digest },
      };
      return c.json(undeleted);
    }
    case 'purged':
      throw cannot(`it was purged, nothing of it is left`);
    case 'no_content':
      throw cannot(`it never held this, or that is purged: ?deleted=true lists what can be undone`);
    default:
      throw notFound(ref);
  }

  function cannot(why: string): StorageError {
    return new StorageError('not_found', `Cannot undelete ${formatRef(ref)}: ${why}`);
  }
}
