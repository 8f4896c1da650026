import type { Link } from '../_shared/contract/links.ts';
import type { Environment } from '../_shared/environment.ts';
import { toIso } from './rows.ts';

/** A link as the database gives it. */
export type LinkRow = Omit<Link, 'url'>;

/** Puts a row into the shape and the time format of the API. */
export function toLink(row: LinkRow, { publicUrl }: Environment): Link {
  const { last_download_at: last, created_at, expires_at } = row;
  return {
    ...row,
    url: `${publicUrl}/functions/v1/generations/links/${row.id}`,
    created_at: toIso(created_at),
    expires_at: toIso(expires_at),
    last_download_at: last === null ? null : toIso(last),
  };
}
