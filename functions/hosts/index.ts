import { readEnvironment } from '../_shared/environment.ts';
import { createApp } from './app.ts';

Deno.serve(createApp(readEnvironment(Deno.env.toObject())).fetch);
