import type { Layout } from '../store/layout.ts';
import { SettingsFiles } from '../store/settings-files.ts';
import type { Staging } from '../store/staging.ts';
import { type Replica, ReplicaSchema } from './replica.ts';

/** So many there may be: each archive is sent to each. */
const MAX_REPLICAS = 8;

/** The replicas of which this host has the keys, by name. */
export class ReplicaFiles extends SettingsFiles<Replica> {
  constructor(layout: Layout, staging: Staging) {
    super(layout, staging, {
      ...{ noun: 'replica', folder: layout.replicas, schema: ReplicaSchema, most: MAX_REPLICAS },
      nameOf: ({ name }) => name,
      compare: (a, b) => a.name.localeCompare(b.name),
    });
  }
}
