import type { InferOutput } from 'valibot';
import type { RecordBodySchema } from '../_shared/contract/hosts.ts';
import type { ObjectPlace } from '../_shared/read-object.ts';
import { ask } from './ask.ts';
import type { HostContext } from './context.ts';
import { prove } from './prove.ts';
import { removeUnneeded } from './remove-unneeded.ts';

type Item = InferOutput<typeof RecordBodySchema>['items'][number];
type Failed = Extract<Item, { status: 'failed' }>;
type Archived = Exclude<Item, Failed>;
type Recorded = {
  project_id: string;
  version: number;
  outcome: string;
  status?: string;
  unneeded?: ObjectPlace[];
};

/** `POST /record`: what became of what was reserved. That it is verified Storage says, or what is read back here. */
export async function record(c: HostContext<{ json: typeof RecordBodySchema }>) {
  const { items } = c.req.valid('json');
  const archived = items.filter((item): item is Archived => item.status !== 'failed');
  const answers: Recorded[] = [];
  if (archived.length > 0) {
    const args = { p_items: archived };
    answers.push(...(await ask<Recorded[]>(c, 'storage_host_record', args, 'record')));
  }
  for (const item of archived.filter(({ status }) => status === 'verified')) {
    const answer = answers.find((one) => isOf(one, item));
    if (answer?.outcome === 'recorded' && answer.status === 'uploaded') {
      Object.assign(answer, await prove(c, item));
    }
  }
  for (const item of items) {
    if (item.status === 'failed') answers.push(await fail(c, item));
  }
  return c.json({ items: await removeUnneeded(c, answers) });
}

const isOf = (answer: Recorded, item: Item) =>
  answer.project_id === item.project_id && answer.version === item.version;

async function fail(c: HostContext, item: Failed): Promise<Recorded> {
  const { project_id, version } = item;
  const args = {
    p_project_id: project_id,
    p_version: version,
    p_generation_id: item.generation_id,
    p_digest: item.digest,
    p_reason: item.reason,
  };
  const answer = await ask<{ outcome: string }>(c, 'storage_host_fail', args, 'record a failure');
  return { project_id, version, ...answer };
}
