import type { SupabaseClient } from '@supabase/supabase-js';
import type { Context } from 'hono';
import type { InputSchemas } from '../_shared/contract/openapi.ts';
import type { Environment } from '../_shared/environment.ts';
import type { InputOf } from '../_shared/input.ts';

/** What the middleware leaves for a route that a host calls. */
export type HostVariables = {
  requestId: string;
  environment: Environment;
  /** The sha256 of its key: all that is ever said of it. */
  keySha256: string;
  /** Asks with the secret key: what the host may is checked by the SQL function that does the work. */
  service: SupabaseClient;
};

/** The context of a route that takes what the schemas say. */
// biome-ignore lint/complexity/noBannedTypes: no schemas is no input, and {} is how hono says it
export type HostContext<S extends InputSchemas = {}> = Context<
  { Variables: HostVariables },
  string,
  InputOf<S>
>;
