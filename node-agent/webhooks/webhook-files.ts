import type { Layout } from '../store/layout.ts';
import { SettingsFiles } from '../store/settings-files.ts';
import type { Staging } from '../store/staging.ts';
import { type Webhook, WebhookSchema } from './webhook.ts';

/** So many there may be: each event is written down for each. */
const MAX_WEBHOOKS = 20;

/** Who is told of what, the oldest first. Any process that notes an event looks here for whom it is owed to. */
export class WebhookFiles extends SettingsFiles<Webhook> {
  constructor(layout: Layout, staging: Staging) {
    super(layout, staging, {
      ...{ noun: 'webhook', folder: layout.webhooks, schema: WebhookSchema, most: MAX_WEBHOOKS },
      nameOf: ({ id }) => id,
      compare: (a, b) => a.createdAt.localeCompare(b.createdAt) || a.id.localeCompare(b.id),
    });
  }

  /** The ids of those that are told of events of a kind. Never throws. */
  toldOf(kind: string): string[] {
    return this.list().flatMap(({ id, kinds, disabled }) =>
      disabled === null && (kinds === null || kinds.includes(kind)) ? [id] : [],
    );
  }
}
