import type { Usage } from '../_shared/contract/api.ts';
import { callDatabase } from '../_shared/database.ts';
import type { UserContext } from './context.ts';

/** `GET /usage`: how much the user keeps, in all. */
export async function showUsage(c: UserContext) {
  const usage = await callDatabase<Usage>(c.var.database, 'storage_usage', {}, 'sum up your usage');
  return c.json(usage);
}
