import type { SupabaseClient } from '@supabase/supabase-js';
import type { Context } from 'hono';
import type { User } from '../_shared/auth.ts';
import type { Environment } from '../_shared/environment.ts';

/** What the middleware leaves for a route that a user calls. */
export type UserVariables = {
  requestId: string;
  user: User;
  /** Asks as the user. */
  database: SupabaseClient;
};

export type UserContext = Context<{ Variables: UserVariables }>;

/** What a route is made with. */
export type RouteOptions = Readonly<{ environment: Environment }>;
