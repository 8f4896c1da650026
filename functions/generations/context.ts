import type { SupabaseClient } from '@supabase/supabase-js';
import type { Context } from 'hono';
import type { ArchiveLinks } from '../_shared/archive-links.ts';
import type { InputSchemas } from '../_shared/contract/openapi.ts';
import type { Environment } from '../_shared/environment.ts';
import type { InputOf } from '../_shared/input.ts';
import type { ReadObject } from '../_shared/read-object.ts';
import type { GenerationRow } from './generation-row.ts';

/** What the middleware leaves for a route that a user calls. */
export type UserVariables = {
  requestId: string;
  environment: Environment;
  archiveLinks: ArchiveLinks;
  userId: string;
  /** Asks as the user; as the service where a link was followed. */
  database: SupabaseClient;
  /** Reads archives as the same. */
  readObject: ReadObject;
  /** Finds a generation of the user, with one query. */
  findGeneration(projectId: string, version: number): Promise<GenerationRow | null>;
};

/** The context of a route that takes what the schemas say. */
// biome-ignore lint/complexity/noBannedTypes: no schemas is no input, and {} is how hono says it
export type UserContext<S extends InputSchemas = {}> = Context<
  { Variables: UserVariables },
  string,
  InputOf<S>
>;
