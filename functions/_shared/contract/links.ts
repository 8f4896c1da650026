/** The shapes of links that can be ended, in the Edge API's JSON. */
import * as v from 'valibot';
import { count, id, PageQuerySchema, time } from './api.ts';

const linkId = v.pipe(v.string(), v.uuid('not the id of a link'));

export const LinkParamSchema = v.object({ id: linkId });

export const LinksQuerySchema = v.object({
  ...PageQuerySchema.entries,
  project: v.optional(v.pipe(id, v.description('Those to this project alone.'))),
});

export const LinkSchema = v.object({
  id: linkId,
  url: v.pipe(v.string(), v.description('Needs nothing else; whoever has it can download.')),
  project_id: id,
  version: count,
  generation_id: id,
  format: v.picklist(['tar.gz', 'zip']),
  created_at: time,
  expires_at: time,
  downloads: v.pipe(v.number(), v.integer(), v.description('How often it was followed.')),
  last_download_at: v.nullable(time),
});
/** A link to an archive, which can be ended. */
export type Link = v.InferOutput<typeof LinkSchema>;

export const EndedLinkSchema = v.object({
  id: linkId,
  ended: v.pipe(v.boolean(), v.description('False where it had ended before.')),
});
export type EndedLink = v.InferOutput<typeof EndedLinkSchema>;
