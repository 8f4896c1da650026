import type { MiddlewareHandler } from 'hono';
import type * as v from 'valibot';
import { readBody } from './body.ts';
import type { InputSchemas } from './contract/openapi.ts';
import { validate } from './contract/validate.ts';

/** What goes in, as a client writes it, and what comes out, checked, by `c.req.valid`. */
export type InputOf<S extends InputSchemas> = {
  in: { [K in keyof S]: S[K] extends v.GenericSchema ? v.InferInput<S[K]> : never };
  out: { [K in keyof S]: S[K] extends v.GenericSchema ? v.InferOutput<S[K]> : never };
};

type CheckInput<S extends InputSchemas> = MiddlewareHandler<
  // biome-ignore lint/suspicious/noExplicitAny: it asks nothing of the environment or the path
  any,
  string,
  InputOf<S>
>;

const schemasOf = new WeakMap<object, InputSchemas>();

/**
 * Makes the check of a route's input. What is wrong is `invalid_input` that names the field; the
 * OpenAPI document is made from the same schemas.
 */
export function input<S extends InputSchemas>(schemas: S): CheckInput<S> {
  const check: CheckInput<S> = async (c, next) => {
    if (schemas.param) c.req.addValidatedData('param', validateAs(schemas.param, c.req.param()));
    if (schemas.query) c.req.addValidatedData('query', validateAs(schemas.query, c.req.query()));
    if (schemas.json) {
      c.req.addValidatedData('json', validateAs(schemas.json, await readBody(c.req)));
    }
    await next();
  };
  schemasOf.set(check, schemas);
  return check;
}

/** The schemas of a check that {@link input} made; `null` for any other handler. */
export function findInputSchemas(handler: object): InputSchemas | null {
  return schemasOf.get(handler) ?? null;
}

function validateAs(schema: v.GenericSchema, value: unknown): object {
  return validate(schema, value) as object;
}
