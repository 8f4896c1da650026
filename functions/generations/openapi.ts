/** The OpenAPI 3.1 document, made from the routes and their schemas. */
import { type JsonSchema, toJsonSchema, toJsonSchemaDefs } from '@valibot/to-json-schema';
import * as v from 'valibot';
import {
  ActivationSchema,
  DeletedGenerationSchema,
  DeletedProjectSchema,
  DiffSchema,
  DownloadSchema,
  FileEntrySchema,
  GenerationDetailsSchema,
  GenerationSchema,
  HealthSchema,
  ProblemSchema,
  ProjectSchema,
  UsageSchema,
} from '../_shared/contract/api.ts';
import { ERROR_CODES, type ErrorCode } from '../_shared/contract/errors.ts';
import { findInputSchemas, type InputSchemas } from '../_shared/input.ts';

/** What the schemas of a route do not say. */
type Operation = Readonly<{
  id: string;
  summary: string;
  /** Of the answer: a schema, or a media type. */
  answer: v.GenericSchema | string;
  /** @default 200 */
  status?: number;
  /** Beside those that every route with a token has. */
  errors?: readonly ErrorCode[];
  /** @default 'token' */
  needs?: 'nothing' | 'token' | 'token or link';
}>;

const SCHEMAS = {
  Activation: ActivationSchema,
  DeletedGeneration: DeletedGenerationSchema,
  DeletedProject: DeletedProjectSchema,
  Diff: DiffSchema,
  Download: DownloadSchema,
  FileEntry: FileEntrySchema,
  Generation: GenerationSchema,
  GenerationDetails: GenerationDetailsSchema,
  Problem: ProblemSchema,
  Project: ProjectSchema,
  Usage: UsageSchema,
} as const;

const CONVERSION = {
  target: 'draft-2020-12',
  typeMode: 'input',
  // What a schema checks in a way of our own, its metadata say.
  errorMode: 'ignore',
  definitions: SCHEMAS,
  overrideRef: ({ referenceId }: { referenceId: string }) => `#/components/schemas/${referenceId}`,
} as const;

const pageOf = <T extends v.GenericSchema>(item: T) =>
  v.object({ items: v.array(item), next_cursor: v.nullable(v.string()) });

/** By method and path. The routes are in `app.ts`; neither may know one that the other does not. */
const OPERATIONS: Record<string, Operation> = {
  'GET /projects': {
    id: 'listProjects',
    summary: 'Your projects, newest first.',
    answer: pageOf(ProjectSchema),
  },
  'POST /projects': {
    id: 'createProject',
    summary: 'A new project of yours. The server makes its id.',
    answer: ProjectSchema,
    status: 201,
    errors: ['too_large'],
  },
  'GET /projects/{project}': {
    id: 'listGenerations',
    summary: 'The versions of a project, newest first.',
    answer: pageOf(GenerationSchema),
    errors: ['not_found'],
  },
  'GET /projects/{project}/{version}': {
    id: 'showGeneration',
    summary: 'One version, with a signed URL of its tar.gz once it is uploaded.',
    answer: GenerationDetailsSchema,
    errors: ['not_found'],
  },
  'POST /projects/{project}/{version}/download': {
    id: 'downloadGeneration',
    summary: 'A signed URL of the tar.gz or the zip, which needs nothing else.',
    answer: DownloadSchema,
    errors: ['not_found', 'conflict', 'too_large'],
  },
  'GET /projects/{project}/{version}/archive.zip': {
    id: 'downloadZip',
    summary: 'The zip, made as it streams.',
    answer: 'application/zip',
    errors: ['not_found', 'conflict', 'too_large', 'corrupt'],
    needs: 'token or link',
  },
  'GET /projects/{project}/{version}/files': {
    id: 'listFiles',
    summary: 'The files of a version, by path.',
    answer: pageOf(FileEntrySchema),
    errors: ['not_found', 'conflict', 'too_large', 'corrupt'],
  },
  'GET /projects/{project}/{version}/files/{path}': {
    id: 'getFile',
    summary: 'One file. Its ETag is its sha256; If-None-Match is answered with 304.',
    answer: '*/*',
    errors: ['not_found', 'conflict', 'too_large', 'corrupt'],
  },
  'GET /projects/{project}/diff': {
    id: 'diffGenerations',
    summary: 'What changed between two versions.',
    answer: DiffSchema,
    errors: ['not_found', 'conflict', 'too_large', 'corrupt'],
  },
  'POST /projects/{project}/{version}/activate': {
    id: 'activateGeneration',
    summary: "Makes a version the project's active one.",
    answer: ActivationSchema,
    errors: ['not_found'],
  },
  'DELETE /projects/{project}/{version}': {
    id: 'deleteGeneration',
    summary: 'Deletes a version for good: its row, its archive, and the copies on hosts.',
    answer: DeletedGenerationSchema,
    errors: ['not_found'],
  },
  'DELETE /projects/{project}': {
    id: 'deleteProject',
    summary: 'Deletes a project with all its versions, for good.',
    answer: DeletedProjectSchema,
    errors: ['not_found'],
  },
  'GET /usage': { id: 'showUsage', summary: 'How much you keep, in all.', answer: UsageSchema },
  'GET /health': {
    id: 'health',
    summary: 'Whether the function answers.',
    answer: HealthSchema,
    needs: 'nothing',
  },
  'GET /openapi.json': {
    id: 'openapi',
    summary: 'This document.',
    answer: 'application/json',
    needs: 'nothing',
  },
};

type Route = Readonly<{ method: string; path: string; handler: object }>;

/**
 * Makes the document.
 *
 * @param routes of the app, middleware among them
 * @param server where the API is reached
 * @throws Error for a route that is not described, or a description without a route
 */
export function createOpenApi(routes: readonly Route[], server: string): Record<string, unknown> {
  const inputs = new Map<string, InputSchemas>();
  for (const { method, path, handler } of routes) {
    if (method === 'ALL') continue;
    const key = `${method} ${path.replaceAll(/:(\w+)(\{[^}]+\})?/g, '{$1}')}`;
    inputs.set(key, { ...inputs.get(key), ...findInputSchemas(handler) });
  }
  const unknown = [...inputs.keys()].filter((key) => OPERATIONS[key] === undefined);
  const missing = Object.keys(OPERATIONS).filter((key) => !inputs.has(key));
  if (unknown.length + missing.length > 0) {
    throw new Error(`Cannot describe the API: ${[...unknown, ...missing].join(', ')}`);
  }
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [key, operation] of Object.entries(OPERATIONS)) {
    const [method = '', path = ''] = key.split(' ');
    paths[path] ??= {};
    paths[path][method.toLowerCase()] = describe(operation, inputs.get(key) ?? {});
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'codebegen-storage',
      version: '1',
      description: 'What is missing, deleted or of another user looks the same: 404.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: server }],
    security: [{ token: [] }],
    paths,
    components: {
      schemas: toJsonSchemaDefs(SCHEMAS, CONVERSION),
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
        link: { type: 'apiKey', in: 'query', name: 'token' },
      },
    },
  };
}

function describe(operation: Operation, { param, query, json }: InputSchemas) {
  const { id, summary, answer, status = 200, needs = 'token' } = operation;
  const errors: ErrorCode[] = [
    ...(param || query || json ? (['invalid_input'] as const) : []),
    ...(needs === 'nothing' ? [] : (['unauthenticated', 'rate_limited', 'unavailable'] as const)),
    ...(operation.errors ?? []),
  ];
  const content =
    typeof answer === 'string'
      ? { [answer]: answer === 'application/json' ? {} : { schema: {} } }
      : { 'application/json': { schema: convert(answer) } };
  const parameters = [...describeAll('path', param), ...describeAll('query', query)];
  const security = {
    nothing: [],
    token: undefined,
    'token or link': [{ token: [] }, { link: [] }],
  };
  return {
    operationId: id,
    summary,
    ...(security[needs] === undefined ? {} : { security: security[needs] }),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(json === undefined ? {} : { requestBody: describeBody(json) }),
    responses: {
      [status]: { description: summary, content },
      ...(id === 'getFile' ? { 304: { description: 'The browser has it.' } } : {}),
      ...Object.fromEntries(errors.map((code) => [ERROR_CODES[code].status, problem(code)])),
    },
  };
}

function describeBody(json: v.GenericSchema) {
  const schema = convert(json);
  const required = (schema.required ?? []).length > 0;
  return { required, content: { 'application/json': { schema } } };
}

function problem(code: ErrorCode) {
  const schema = { $ref: '#/components/schemas/Problem' };
  return {
    description: `${ERROR_CODES[code].title}: \`${code}\``,
    content: { 'application/problem+json': { schema } },
  };
}

function describeAll(where: 'path' | 'query', schema: v.GenericSchema | undefined) {
  const { entries } = (schema ?? { entries: {} }) as v.ObjectSchema<v.ObjectEntries, undefined>;
  return Object.entries(entries).map(([name, entry]) => {
    const { description, ...rest } = convert(entry as v.GenericSchema);
    return {
      name,
      in: where,
      required: entry.type !== 'optional',
      ...(description === undefined ? {} : { description }),
      schema: rest,
    };
  });
}

/** A schema that has a name is referred to by it. */
function convert(schema: v.GenericSchema): JsonSchema {
  const { $schema: _, $defs: __, ...converted } = toJsonSchema(schema, CONVERSION);
  return withTypedDefault(converted);
}

/** A query is text, and so is its default; the document says what is meant by it. */
function withTypedDefault(schema: JsonSchema): JsonSchema {
  const { type, default: value } = schema;
  if (typeof value !== 'string' || (type !== 'integer' && type !== 'boolean')) return schema;
  return { ...schema, default: JSON.parse(value) };
}
