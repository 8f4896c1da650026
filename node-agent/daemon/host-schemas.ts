/** The shapes of what the daemon takes and answers of hosts that have a key of their own. */
import * as v from 'valibot';
import { CloudHostSchema } from '../cloud/hosts.ts';

/** So many projects are assigned in one request. */
const MOST_PROJECTS = 500;
/** The longest that a key may last, or an earlier one go on, in seconds: ten years. */
const LONGEST = 10 * 365 * 24 * 3600;

const seconds = (least: number, what: string) =>
  v.pipe(
    v.number('a number'),
    v.integer('a whole number'),
    v.minValue(least, `at least ${least}`),
    v.maxValue(LONGEST, `at most ${LONGEST}`),
    v.description(what),
  );
const expiresIn = v.optional(
  v.nullable(seconds(1, 'Seconds until its key ends; left out: it does not.')),
  null,
);
const projects = v.optional(
  v.pipe(
    v.array(v.string('a project id')),
    v.maxLength(MOST_PROJECTS, `at most ${MOST_PROJECTS}`),
    v.description('Ids of projects that it may write to, which need not be there yet.'),
  ),
  [],
);

const name = v.pipe(v.string('a name'), v.description('1 to 63 letters, digits, ".", "_", "-".'));
export const HostParamSchema = v.object({ host: name });

export const AddHostSchema = v.strictObject({
  name,
  read: v.optional(v.picklist(['own', 'all'], '"own" or "all"'), 'own'),
  delete: v.optional(v.picklist(['none', 'own'], '"none" or "own"'), 'none'),
  projects,
  expires_in: expiresIn,
});
export const RotateHostSchema = v.strictObject({
  overlap: v.optional(seconds(0, 'Seconds for which the earlier key goes on.'), 24 * 3600),
  expires_in: expiresIn,
});
export const AssignHostSchema = v.strictObject({
  projects,
  from: v.optional(
    v.nullable(v.pipe(name, v.description('A host that is revoked: all that it had.'))),
    null,
  ),
});

const time = v.nullable(v.string());

export const HostSchema = v.omit(CloudHostSchema, ['id']);
const key = v.pipe(v.string(), v.description('Kept nowhere: it is not shown again.'));
export const AddedHostSchema = v.object({ name: v.string(), key, expires_at: time });
export const RotatedHostSchema = v.object({
  name: v.string(),
  key,
  expires_at: time,
  earlier_ends_at: time,
});
export const AssignedHostSchema = v.object({
  name: v.string(),
  assigned: v.pipe(v.number(), v.description('To how many it might not write before.')),
});
export const RevokedHostSchema = v.object({
  name: v.string(),
  revoked: v.pipe(v.boolean(), v.description('`false`: it was revoked already.')),
});
