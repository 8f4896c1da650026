/** OpenAPI 3.1 documents, made from routes and their schemas. */
import { type JsonSchema, toJsonSchema, toJsonSchemaDefs } from '@valibot/to-json-schema';
import * as v from 'valibot';
import { ERROR_CODES, type ErrorCode } from './errors.ts';

/** What a route takes: the parts of its path, its query, and its JSON body. */
export type InputSchemas = Readonly<{
  param?: v.GenericSchema;
  query?: v.GenericSchema;
  json?: v.GenericSchema;
}>;

/** What the schemas of a route's input do not say. */
export type Operation = Readonly<{
  id: string;
  summary: string;
  /** Of the answer: a schema, or a media type; `null`: it has no body. */
  answer: v.GenericSchema | string | null;
  /** @default 200 */
  status?: number;
  /** Statuses that are answered alike. */
  also?: readonly number[];
  /** Beside those that every route has that needs what it needs. */
  errors?: readonly ErrorCode[];
  /** @default 'token' */
  needs?: 'nothing' | 'token' | 'token or link';
  /** Answers without a body, by status. */
  others?: Readonly<Record<number, string>>;
  /** What it takes, by media type. */
  body?: Readonly<Record<string, JsonSchema>>;
  /** What it takes, where its handlers do not say so. */
  inputs?: InputSchemas;
}>;

/** As Hono has it, middleware among them. */
export type Route = Readonly<{ method: string; path: string; handler: object }>;

type Api = Readonly<{
  title: string;
  description: string;
  /** Where the API is reached. */
  server: string;
  /** Those that are referred to by name. */
  schemas: Readonly<Record<string, v.GenericSchema>>;
  /** How whoever asks says who they are, by {@link Operation.needs}. */
  securitySchemes: Readonly<{ token: object; link?: object }>;
  /** What may come of every call. */
  errorsOf: (needs: NonNullable<Operation['needs']>) => readonly ErrorCode[];
  /** Those of the app. */
  routes: readonly Route[];
  /** By method and path, `GET /projects/{project}`. */
  operations: Readonly<Record<string, Operation>>;
  /** What a handler checks; left out: the operations say it. */
  findInputs?: (handler: object) => InputSchemas | null;
}>;

type Conversion = ReturnType<typeof conversionOf>;

function conversionOf(schemas: Api['schemas']) {
  return {
    target: 'draft-2020-12',
    typeMode: 'input',
    // What a schema checks in a way of our own, its metadata say.
    errorMode: 'ignore',
    definitions: schemas,
    overrideRef: ({ referenceId }: { referenceId: string }) =>
      `#/components/schemas/${referenceId}`,
  } as const;
}

/** A page of a list. */
export const pageOf = <T extends v.GenericSchema>(item: T) =>
  v.object({ items: v.array(item), next_cursor: v.nullable(v.string()) });

/**
 * Makes the document.
 *
 * @throws Error for a route that is not described, or a description without a route
 */
export function describeApi(api: Api): Record<string, unknown> {
  const { title, description, server, schemas, securitySchemes, errorsOf, operations } = api;
  const conversion = conversionOf(schemas);
  const inputs = inputsByKey(api);
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [key, operation] of Object.entries(operations)) {
    const [method = '', path = ''] = key.split(' ');
    paths[path] ??= {};
    const inputsOf = { ...operation.inputs, ...inputs.get(key) };
    paths[path][method.toLowerCase()] = describe(operation, inputsOf, errorsOf, conversion);
  }
  return {
    openapi: '3.1.0',
    info: {
      title,
      version: '1',
      description,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: server }],
    security: [{ token: [] }],
    paths,
    components: { schemas: toJsonSchemaDefs(schemas, conversion), securitySchemes },
  };
}

/** What the handlers of each route take: neither routes nor operations know one that the other does not. */
function inputsByKey({ routes, operations, findInputs }: Api): ReadonlyMap<string, InputSchemas> {
  const inputs = new Map<string, InputSchemas>();
  for (const { method, path, handler } of routes) {
    if (method === 'ALL') continue;
    const key = `${method} ${path.replaceAll(/:(\w+)(\{[^}]+\})?/g, '{$1}')}`;
    inputs.set(key, { ...inputs.get(key), ...findInputs?.(handler) });
  }
  const unknown = [...inputs.keys()].filter((key) => operations[key] === undefined);
  const missing = Object.keys(operations).filter((key) => !inputs.has(key));
  if (unknown.length + missing.length > 0) {
    throw new Error(`Cannot describe the API: ${[...unknown, ...missing].join(', ')}`);
  }
  return inputs;
}

function describe(
  operation: Operation,
  { param, query, json }: InputSchemas,
  errorsOf: Api['errorsOf'],
  conversion: Conversion,
) {
  const {
    id,
    summary,
    answer,
    status = 200,
    needs = 'token',
    also = [],
    others = {},
    body,
  } = operation;
  const errors = new Set<ErrorCode>([
    ...(param || query || json || body ? (['invalid_input'] as const) : []),
    ...errorsOf(needs),
    ...(operation.errors ?? []),
  ]);
  const content = contentOf(answer, conversion);
  const parameters = [
    ...describeAll('path', param, conversion),
    ...describeAll('query', query, conversion),
  ];
  const security = {
    nothing: [],
    token: undefined,
    'token or link': [{ token: [] }, { link: [] }],
  };
  const requestBody = body
    ? {
        required: true,
        content: Object.fromEntries(
          Object.entries(body).map(([type, schema]) => [type, { schema }]),
        ),
      }
    : json && describeBody(json, conversion);
  return {
    operationId: id,
    summary,
    ...(security[needs] === undefined ? {} : { security: security[needs] }),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(requestBody === undefined ? {} : { requestBody }),
    responses: {
      ...Object.fromEntries(
        [status, ...also].map((one) => [one, { description: summary, ...content }]),
      ),
      ...Object.fromEntries(
        Object.entries(others).map(([other, text]) => [other, { description: text }]),
      ),
      ...problems(errors),
    },
  };
}

function contentOf(answer: Operation['answer'], conversion: Conversion): object {
  if (answer === null) return {};
  if (typeof answer !== 'string') {
    return { content: { 'application/json': { schema: convert(answer, conversion) } } };
  }
  return { content: { [answer]: answer === 'application/json' ? {} : { schema: {} } } };
}

function describeBody(json: v.GenericSchema, conversion: Conversion) {
  const schema = convert(json, conversion);
  const required = (schema.required ?? []).length > 0;
  return { required, content: { 'application/json': { schema } } };
}

/** By status: two codes may have one. */
function problems(codes: ReadonlySet<ErrorCode>): Record<string, object> {
  const byStatus = Map.groupBy(codes, (code) => ERROR_CODES[code].status);
  const schema = { $ref: '#/components/schemas/Problem' };
  return Object.fromEntries(
    [...byStatus].map(([status, some]) => [
      status,
      {
        description: some.map((code) => `${ERROR_CODES[code].title}: \`${code}\``).join(', '),
        content: { 'application/problem+json': { schema } },
      },
    ]),
  );
}

function describeAll(
  where: 'path' | 'query',
  schema: v.GenericSchema | undefined,
  conversion: Conversion,
) {
  const { entries } = (schema ?? { entries: {} }) as v.ObjectSchema<v.ObjectEntries, undefined>;
  return Object.entries(entries).map(([name, entry]) => {
    const { description, ...rest } = convert(entry as v.GenericSchema, conversion);
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
function convert(schema: v.GenericSchema, conversion: Conversion): JsonSchema {
  const { $schema: _, $defs: __, ...converted } = toJsonSchema(schema, conversion);
  return withTypedDefault(converted);
}

/** A query is text, and so is its default; the document says what is meant by it. */
function withTypedDefault(schema: JsonSchema): JsonSchema {
  const { type, default: value } = schema;
  if (typeof value !== 'string' || (type !== 'integer' && type !== 'boolean')) return schema;
  return { ...schema, default: JSON.parse(value) };
}
