import type { Usage, UsageHistory, UsageHistoryQuerySchema } from '../_shared/contract/api.ts';
import { callDatabase } from '../_shared/database.ts';
import type { UserContext } from './context.ts';

/** `GET /usage`: how much the user keeps, in all. */
export async function showUsage(c: UserContext) {
  const usage = await callDatabase<Usage>(c.var.database, 'storage_usage', {}, 'sum up your usage');
  return c.json(usage);
}

/** `GET /usage/history`: what the user kept and downloaded, day by day, today last. */
export async function showUsageHistory(c: UserContext<{ query: typeof UsageHistoryQuerySchema }>) {
  const args = { p_days: c.req.valid('query').days };
  const doing = 'sum up your usage';
  const history = await callDatabase<UsageHistory>(
    c.var.database,
    'storage_usage_history',
    args,
    doing,
  );
  return c.json(history);
}
