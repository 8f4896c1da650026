/**
 * What the bodies of requests may hold, in the schemas and the words of the real server: it checks
 * them with Ajv before it asks who calls.
 */
import { Ajv, type ValidateFunction } from 'ajv';
import type { Context } from 'hono';
import { problems } from './errors.ts';

// The settings of Fastify.
const ajv = new Ajv({ coerceTypes: 'array', useDefaults: true, allowUnionTypes: true });

const text = { type: 'string' };
const keys = { type: 'array', items: text, minItems: 1 };
const expiresIn = { type: 'integer', minimum: 1 };
const order = { type: 'string', enum: ['asc', 'desc'] };

function body<T>(properties: Record<string, unknown>, required: string[] = []) {
  return ajv.compile<T>({ type: 'object', properties, required });
}

function sortBy(...columns: string[]) {
  return {
    type: 'object',
    properties: { column: { type: 'string', enum: columns }, order },
    required: ['column'],
  };
}

const BUCKET = {
  public: { type: 'boolean' },
  file_size_limit: {
    anyOf: [
      { type: 'integer', nullable: true, minimum: 0 },
      { type: 'string', nullable: true },
    ],
  },
  allowed_mime_types: { type: 'array', nullable: true, items: text },
};

export type BucketInput = {
  public?: boolean;
  file_size_limit?: number | string | null;
  allowed_mime_types?: string[] | null;
};
export type NewBucket = BucketInput & { name: string; id?: string };
export type ListInput = {
  prefix: string;
  limit?: number;
  offset?: number;
  search?: string;
  sortBy?: { column: string; order?: 'asc' | 'desc' };
};
export type ListV2Input = {
  prefix?: string;
  limit?: number;
  cursor?: string;
  with_delimiter?: boolean;
};
export type PairInput = {
  bucketId: string;
  sourceKey: string;
  destinationBucket?: string;
  destinationKey: string;
};

const PAIR = {
  bucketId: text,
  sourceKey: text,
  destinationBucket: text,
  destinationKey: text,
};

export const bodies = {
  newBucket: body<NewBucket>({ ...BUCKET, id: text, name: text }, ['name']),
  bucket: body<BucketInput>(BUCKET),
  list: body<ListInput>(
    {
      prefix: text,
      limit: { type: 'integer', minimum: 1 },
      offset: { type: 'integer', minimum: 0 },
      sortBy: sortBy('name', 'updated_at', 'created_at', 'last_accessed_at'),
      search: text,
    },
    ['prefix'],
  ),
  listV2: body<ListV2Input>({
    prefix: text,
    limit: { type: 'integer', minimum: 1 },
    cursor: text,
    with_delimiter: { type: 'boolean' },
    sortBy: sortBy('name', 'updated_at', 'created_at'),
  }),
  copy: body<PairInput>(PAIR, ['sourceKey', 'bucketId', 'destinationKey']),
  move: body<PairInput>(PAIR, ['bucketId', 'sourceKey', 'destinationKey']),
  sign: body<{ expiresIn: number }>({ expiresIn }, ['expiresIn']),
  signMany: body<{ expiresIn: number; paths: string[] }>({ expiresIn, paths: keys }, [
    'expiresIn',
    'paths',
  ]),
  remove: body<{ prefixes: string[] }>({ prefixes: { ...keys, maxItems: 1000 } }, ['prefixes']),
};

/** Reads the JSON of a request, as the server's framework does. */
export async function readBody<T>(c: Context, validate: ValidateFunction<T>): Promise<T> {
  const type = c.req.header('content-type')?.split(';')[0]?.trim();
  const content = await c.req.text();
  const value = parse(type, content);
  if (validate(value)) return value;
  throw problems.invalidRequest(ajv.errorsText(validate.errors, { dataVar: 'body' }));
}

function parse(type: string | undefined, content: string): unknown {
  if (type === 'application/json') {
    const named = "when content-type is set to 'application/json'";
    if (content === '') throw problems.unreadable(400, `Body cannot be empty ${named}`);
    try {
      return JSON.parse(content);
    } catch {
      const message = "Body is not valid JSON but content-type is set to 'application/json'";
      throw problems.unreadable(400, message);
    }
  }
  if (content === '') return null;
  if (type === 'text/plain') return content;
  throw problems.unreadable(415, `Unsupported Media Type: ${type}`);
}
