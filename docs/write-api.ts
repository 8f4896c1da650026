/** `npm run docs`: writes `api.md` from the OpenAPI document, and an example of each call. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ERROR_CODES } from '../functions/_shared/contract/errors.ts';
import { EDGE_LIMITS, MAX_LINKS, URL_EXPIRY } from '../functions/_shared/contract/limits.ts';
import { readEnvironment } from '../functions/_shared/environment.ts';
import { createApp } from '../functions/generations/app.ts';

type Schema = {
  $ref?: string;
  type?: string;
  description?: string;
  anyOf?: Schema[];
  enum?: unknown[];
  const?: unknown;
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  default?: unknown;
  minimum?: number;
  maximum?: number;
  maxLength?: number;
};
type Parameter = { name: string; required: boolean; description?: string; schema: Schema };
type Content = Record<string, { schema?: Schema }>;
type Operation = {
  operationId: string;
  summary: string;
  security?: object[];
  parameters?: Parameter[];
  requestBody?: { content: Content };
  responses: Record<string, { description: string; content?: Content }>;
};
type Document = {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
};

/** The examples' paths, and their bodies. `PROJECT` has versions 1, 2 and 3. */
const EXAMPLES: Record<string, { path: string; body?: object; save?: string }> = {
  listProjects: { path: '/projects?limit=2' },
  createProject: { path: '/projects', body: { name: 'Shop' } },
  listGenerations: { path: '/projects/$PROJECT?limit=2' },
  showGeneration: { path: '/projects/$PROJECT/2' },
  downloadGeneration: {
    path: '/projects/$PROJECT/2/download',
    body: { format: 'zip', expires_in: 600 },
  },
  listLinks: { path: '/links?project=$PROJECT' },
  followLink: { path: '/links/$LINK' },
  endLink: { path: '/links/$LINK' },
  downloadZip: { path: '/projects/$PROJECT/2/archive.zip', save: 'shop.zip' },
  listFiles: { path: '/projects/$PROJECT/2/files' },
  getFile: { path: '/projects/$PROJECT/2/files/app/main.py' },
  diffGenerations: { path: '/projects/$PROJECT/diff?from=1&to=2&unified=true' },
  activateGeneration: { path: '/projects/$PROJECT/2/activate' },
  deleteGeneration: { path: '/projects/$PROJECT/1' },
  undeleteGeneration: { path: '/projects/$PROJECT/1/undelete' },
  deleteProject: { path: '/projects/$PROJECT' },
  undeleteProject: { path: '/projects/$PROJECT/undelete' },
  showUsage: { path: '/usage' },
  showUsageHistory: { path: '/usage/history?days=7' },
  health: { path: '/health' },
  openapi: { path: '/openapi.json', save: 'openapi.json' },
};

const MIB = 1024 ** 2;
const FILE = new URL('./api.md', import.meta.url);

/** The text of `api.md`. */
export async function writeApi(): Promise<string> {
  const app = createApp(
    readEnvironment({
      SUPABASE_URL: 'https://YOUR_PROJECT.supabase.co',
      SUPABASE_ANON_KEY: 'unused',
      SUPABASE_SERVICE_ROLE_KEY: 'unused',
    }),
  );
  const answer = await app.request('/generations/openapi.json');
  const document = (await answer.json()) as Document;
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method, path, operation })),
  );
  // In the order of the table in `openapi.ts`, which is that of the examples: deleting comes last.
  const order = Object.keys(EXAMPLES);
  operations.sort(
    (a, b) => order.indexOf(a.operation.operationId) - order.indexOf(b.operation.operationId),
  );
  return [
    INTRODUCTION,
    '## Calls',
    ...operations.map(({ method, path, operation }) => section(method, path, operation)),
    '## Shapes',
    ...Object.entries(document.components.schemas).map(
      ([name, schema]) => `### ${name}\n\n${fields(schema)}`,
    ),
    CLIENT,
  ]
    .join('\n\n')
    .concat('\n');
}

const INTRODUCTION = `<!-- Written by \`npm run docs\` from the OpenAPI document: change \`functions/generations/openapi.ts\`. -->

# The Edge API

What a web app calls, at \`https://YOUR_PROJECT.supabase.co/functions/v1/generations\`. The same as an
OpenAPI 3.1 document is served at \`/openapi.json\`.

- **Who asks**: \`Authorization: Bearer …\` with the access token of a signed-in user. An API key is no user.
  A page has it from supabase-js; for a try, of a user with a password:
  \`curl "$SUPABASE_URL/auth/v1/token?grant_type=password" -H "apikey: $PUBLISHABLE_KEY" -d '{"email": "…", "password": "…"}'\`.
- **Lists** are \`{"items": […], "next_cursor": …}\`; the cursor of the next page is null on the last one.
- **Times** are ISO 8601 UTC, **sizes** bytes.
- **What is missing, deleted or of another user** looks the same: 404.
- **Failures** are \`application/problem+json\` (see Problem); \`code\` is for programs, \`detail\` for people, and
  \`request_id\` (also the header \`X-Request-Id\`) is what the log knows it by.

Codes: ${Object.entries(ERROR_CODES)
  .filter(([, { status }]) => status !== ERROR_CODES.disk_full.status)
  .map(([code, { status }]) => `\`${code}\` ${status}`)
  .join(', ')}. \`rate_limited\` and \`unavailable\` are worth another try.

Limits of one request: a body of ${EDGE_LIMITS.bodyBytes / 1024} KiB, a file of ${EDGE_LIMITS.fileBytes / MIB} MiB,
a zip of ${EDGE_LIMITS.zipFiles} files or ${EDGE_LIMITS.zipBytes / MIB} MiB of content (of both in proportion), a unified diff of ${EDGE_LIMITS.diffFiles} files,
${EDGE_LIMITS.diffLines} lines and
${EDGE_LIMITS.diffBytes / MIB} MiB on both sides, an archive without block index (of the Python system) of
${EDGE_LIMITS.archiveBytes / MIB} MiB with ${EDGE_LIMITS.archiveFiles} files; a signed URL or a link is good for ${URL_EXPIRY.max / 86_400} days at most,
and a user has ${MAX_LINKS} links at a time. What is
larger is \`too_large\`; for a file, a zip or an archive \`download_url\` in the answer is that of the tar.gz.

The examples need four variables:

\`\`\`text
API=https://YOUR_PROJECT.supabase.co/functions/v1/generations
TOKEN=the access token of a user
PROJECT=one of her projects
LINK=the id of one of her links
\`\`\``;

const CLIENT = `## From TypeScript

\`codebegen-storage/client\` has a method for each call, in browsers, Node and Deno. Each gives a promise; it is rejected
with a \`StorageError\`, with the \`code\` from above, also where an argument cannot be used.

\`\`\`ts
import { allItems, createClient, StorageError } from 'codebegen-storage/client';

const storage = createClient(url, getToken);

const { items } = await storage.listGenerations(project, { limit: 2 });
console.log(items.map(({ version, status }) => \`v\${version} \${status}\`));

// A generation that was saved just now is on its way from its host: this asks until it is there.
await storage.waitFor(project, 2, 'uploaded', { timeoutMs: 60_000 });

for await (const file of allItems((cursor) => storage.listFiles(project, 2, { cursor }))) {
  console.log(file.path, file.size);
}
console.log(await (await storage.getFile(project, 2, 'app/main.py')).text());
console.log((await storage.diffGenerations(project, { from: 1, to: 2, unified: true })).unified);

// A URL for the page: it needs no token.
const { url: zip } = await storage.downloadGeneration(project, 2, { format: 'zip' });
console.log(zip.startsWith('http'));

// One to give away, which can be ended: after that nobody downloads by it.
const { url: shared, link } = await storage.downloadGeneration(project, 2, { revocable: true });
console.log(shared.endsWith(link), (await storage.listLinks({ project })).items[0].downloads);
console.log((await storage.endLink(link)).ended);

try {
  await storage.showGeneration(project, 99, {}, { signal: AbortSignal.timeout(5000) });
} catch (error) {
  if (!(error instanceof StorageError)) throw error;
  console.log(error.code, error.requestId !== null);
}
\`\`\`

\`url\` is that of the Supabase project; \`getToken\` gives the access token at every call, for example
\`async () => (await supabase.auth.getSession()).data.session?.access_token ?? null\`.

## Live status

Where the project has Supabase Realtime, each change of a generation is sent to its owner as a private _Broadcast_, by a trigger: topic
\`storage:{user id}\`, event \`generation.pending\`, \`.uploaded\`, \`.verified\`, \`.failed\`, \`.deleted\` or \`.undeleted\`, with \`project_id\`, \`version\`,
\`generation_id\`, \`status\`, \`failure\` and \`digest\`. Nobody else may listen to that topic, and nobody but the database sends there. (Not by
\`postgres_changes\`: that never delivers what its policy hides, so no deletion.)

\`\`\`js
await supabase.realtime.setAuth();
supabase
  .channel(\`storage:\${userId}\`, { config: { private: true } })
  .on('broadcast', { event: '*' }, ({ event, payload }) => console.log(event, payload.version))
  .subscribe();
\`\`\`

\`createClient(url, getToken, { live: supabase })\` has \`waitFor\` listen there; where Realtime is not, or breaks off, it asks every few
seconds. Where Realtime came after the migrations: \`select storage_allow_listening()\` once. **Unproven**: Realtime cannot run where this
was written. The trigger and the policy are tested in SQL against a stand-in, the client against a stand-in for its channel; none shows
that a message arrives.`;

function section(method: string, path: string, operation: Operation): string {
  const { operationId, summary, parameters = [], requestBody, responses } = operation;
  const body = requestBody?.content['application/json']?.schema;
  const [status, answer] = Object.entries(responses)[0]!;
  const [type, content] = Object.entries(answer.content ?? {})[0] ?? ['', {}];
  const errors = Object.entries(responses).filter(
    ([code]) => Number(code) >= 300 && code !== status,
  );
  return [
    `### ${operationId}`,
    `\`${method.toUpperCase()} ${path}\` ${summary}${needs(operation)}`,
    ...(parameters.length === 0 ? [] : [parameters.map(parameter).join('\n')]),
    ...(body === undefined ? [] : ['Body:', fields(body)]),
    `Answer: ${status}, ${answerOf(type, content.schema)}`.concat(
      errors.length === 0 ? '' : `; else ${errors.map(([code]) => code).join(', ')}`,
    ),
    `\`\`\`sh\n${curl(method, operation)}\n\`\`\``,
  ].join('\n\n');
}

function answerOf(type: string, schema: Schema | undefined): string {
  if (type === '') return 'without a body';
  return type === 'application/json' && schema ? nameOf(schema) : `\`${type}\``;
}

function needs({ security }: Operation): string {
  if (security === undefined) return '';
  return security.length === 0 ? ' No token.' : ' A token, or a link that `download` made.';
}

function parameter({ name, required, description, schema }: Parameter): string {
  return `- \`${name}\`${required ? '' : '?'}: ${nameOf(schema)}${description ? `. ${description}` : ''}`;
}

function fields({ properties = {}, required = [] }: Schema): string {
  return Object.entries(properties)
    .map(([name, schema]) => {
      const { description } = schema.anyOf?.find((some) => some.description) ?? schema;
      return parameter({
        name,
        required: required.includes(name),
        schema,
        ...(description === undefined ? {} : { description }),
      });
    })
    .join('\n');
}

/** A type in a few words. */
function nameOf(schema: Schema): string {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.split('/').at(-1)!;
    return `[${name}](#${name.toLowerCase()})`;
  }
  if (schema.anyOf !== undefined) return schema.anyOf.map(nameOf).join(' or ');
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``;
  if (schema.properties?.items?.items !== undefined) {
    return `a page of ${nameOf(schema.properties.items.items)}`;
  }
  if (schema.items !== undefined) return `a list of ${nameOf(schema.items)}`;
  if (schema.enum !== undefined) {
    return withDefault(
      schema.enum.map((value) => `\`${JSON.stringify(value)}\``).join(' or '),
      schema,
    );
  }
  const range = [
    ...(schema.minimum !== undefined && schema.maximum !== undefined
      ? [`${schema.minimum} to ${schema.maximum}`]
      : []),
    ...(schema.maxLength === undefined ? [] : [`at most ${schema.maxLength} characters`]),
  ];
  return withDefault([schema.type ?? 'anything', ...range].join(', '), schema);
}

function withDefault(text: string, schema: Schema): string {
  return schema.default === undefined
    ? text
    : `${text}; default \`${JSON.stringify(schema.default)}\``;
}

function curl(method: string, { operationId, security }: Operation): string {
  const { path, body, save } = EXAMPLES[operationId]!;
  return [
    `curl -sS --fail-with-body ${method === 'get' ? '' : `-X ${method.toUpperCase()} `}"$API${path}"`,
    ...(security?.length === 0 ? [] : ['-H "Authorization: Bearer $TOKEN"']),
    ...(body === undefined
      ? []
      : ["-H 'Content-Type: application/json'", `-d '${JSON.stringify(body)}'`]),
    ...(save === undefined ? [] : [`-o ${save}`]),
  ].join(' \\\n  ');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(FILE, await writeApi());
