import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { type Call, callInProcess } from './edge.ts';

export type Schema = {
  type?: string;
  enum?: string[];
  const?: unknown;
  anyOf?: Schema[];
  oneOf?: Schema[];
  items?: Schema;
  minItems?: number;
  maxItems?: number;
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  properties?: Record<string, Schema>;
  required?: string[];
};

/** One call that the document describes. */
export type Operation = Readonly<{
  id: string;
  method: string;
  path: string;
  parameters: { name: string; in: 'path' | 'query'; required: boolean; schema: Schema }[];
  body: Schema | null;
  /** Checks an answer: its status must be described, and its JSON what the schema says. */
  check(status: number, contentType: string, body: unknown): string | null;
}>;

type Content = Record<string, { schema?: object }>;
type Described = {
  operationId: string;
  parameters?: Operation['parameters'];
  requestBody?: { content: Record<string, { schema: Schema }> };
  responses: Record<string, { content?: Content }>;
  /** Left out: that of the document. */
  security?: Record<string, unknown>[];
};
export type Document = {
  paths: Record<string, Record<string, Described>>;
  components: { schemas: Record<string, object> };
  security: Record<string, unknown>[];
};

/** The document as the function serves it. */
export async function getDocument(call: Call = callInProcess()): Promise<Document> {
  const answer = await call('GET', '/openapi.json');
  return (await answer.json()) as Document;
}

/** What the document describes. */
export function operationsOf(document: Document): Operation[] {
  const ajv = new Ajv2020({ strict: false });
  addFormats.default(ajv);
  ajv.addSchema({ $id: 'api', components: document.components });
  const compile = (schema: object) =>
    ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"api#/')));
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => {
      const checks = new Map<string, ReturnType<typeof compile> | null>();
      for (const [status, { content = {} }] of Object.entries(described.responses)) {
        for (const [type, { schema }] of Object.entries(content)) {
          const isJson = type.endsWith('json') && schema !== undefined;
          checks.set(`${status} ${type}`, isJson ? compile(schema) : null);
        }
        if (Object.keys(content).length === 0) checks.set(`${status} */*`, null);
      }
      return {
        id: described.operationId,
        method: method.toUpperCase(),
        path,
        parameters: described.parameters ?? [],
        body: described.requestBody?.content['application/json']?.schema ?? null,
        check(status, contentType, body) {
          const key = `${status} ${contentType.split(';')[0]}`;
          const any = `${status} */*`;
          if (!checks.has(key) && !checks.has(any)) return `${key} is not described`;
          const validate = checks.get(key);
          if (!validate || validate(body)) return null;
          return `${key}: ${ajv.errorsText(validate.errors)}`;
        },
      };
    }),
  );
}
