/** What the routes of links take and answer. The routes are in `app.ts`. */
import * as v from 'valibot';
import { CloudLinkSchema, LinkNameSchema } from '../cloud/links.ts';
import { type Operation, pageOf, VersionParamSchema } from '../contract.ts';

const LINKS = '/v1/projects/{project}/{version}/links';

export const LinkParamSchema = v.object({
  ...VersionParamSchema.entries,
  link: LinkNameSchema,
});

const EndedLinkSchema = v.object({
  name: LinkNameSchema,
  ended: v.pipe(v.boolean(), v.description('False where it had ended before.')),
});

export const LINK_OPERATIONS: Record<string, Operation> = {
  [`GET ${LINKS}`]: {
    id: 'listLinks',
    summary: 'The links to it that can be followed, where this daemon has the secret key.',
    answer: pageOf(CloudLinkSchema),
    inputs: { param: VersionParamSchema },
    errors: ['not_found'],
  },
  [`DELETE ${LINKS}/{link}`]: {
    id: 'endLink',
    summary: 'Ends a link to it: whoever has it can follow it no more.',
    answer: EndedLinkSchema,
    inputs: { param: LinkParamSchema },
    errors: ['not_found'],
  },
};
