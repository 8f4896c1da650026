import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { tempFolder } from './temp.ts';

/** What the CLI sent to be deployed. */
export type Deployed = { path: string; form: FormData };

/**
 * Stands in for the management API of Supabase, which takes functions, and keeps what it took.
 *
 * @returns the environment in which the real CLI talks to it, and what was deployed so far
 */
export async function startManagementApi(): Promise<{
  env: Record<string, string>;
  deployed: Deployed[];
}> {
  const deployed: Deployed[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    response.setHeader('content-type', 'application/json');
    if (request.method !== 'POST') {
      response.end('[]');
      return;
    }
    const headers = { 'content-type': request.headers['content-type'] ?? '' };
    const form = await new Response(Buffer.concat(chunks), { headers }).formData();
    deployed.push({ path: request.url ?? '', form });
    const answer = { id: '1', slug: 'generations', name: 'generations', status: 'ACTIVE' };
    response.statusCode = 201;
    response.end(JSON.stringify({ ...answer, version: 1, created_at: 1, updated_at: 1 }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { env: await cliEnvironment(url), deployed };
}

async function cliEnvironment(url: string): Promise<Record<string, string>> {
  const home = await tempFolder();
  const profile = join(home, 'profile.yaml');
  const urls = ['api_url', 'dashboard_url', 'docs_url'].map((name) => `${name}: ${url}\n`);
  await writeFile(profile, `${urls.join('')}name: stub\nproject_host: 127.0.0.1\n`);
  return {
    HOME: home,
    SUPABASE_PROFILE: profile,
    SUPABASE_ACCESS_TOKEN: `sbp_${'0123456789'.repeat(4)}`,
    SUPABASE_TELEMETRY_DISABLED: '1',
    DO_NOT_TRACK: '1',
  };
}
