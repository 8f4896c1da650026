import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Busboy, type BusboyInstance } from '@fastify/busboy';
import type { Context, Handler } from 'hono';
import * as v from 'valibot';
import type { Storage } from '../agent.ts';
import { parseVersion, StorageError, validate } from '../contract.ts';
import { describe } from '../describe.ts';
import type { FileContent, SaveDetails } from '../save-input.ts';
import type { Receipt } from '../types.ts';
import { toWire } from '../wire.ts';

/** Bytes of a JSON body: what is larger goes as multipart or as a tar. */
export const JSON_BYTES = 64 * 1024 * 1024;
/** Bytes of one field of a form, and how many there may be. */
const FIELD_BYTES = 1024 * 1024;
const FIELDS = 20;

const TAR_TYPES = new Set(['application/gzip', 'application/x-gzip', 'application/x-tar']);

const version = v.union([v.number(), v.string()], 'must be a whole number');
const text = v.string('must be a text');
const DetailsSchema = v.strictObject({
  project_id: text,
  version: v.optional(version),
  generation_id: v.optional(text),
  owner_id: v.optional(text),
  metadata: v.optional(v.unknown()),
  replace: v.optional(v.boolean('must be true or false')),
});
const BodySchema = v.strictObject({
  ...DetailsSchema.entries,
  // Not v.record, which passes over a file named "constructor". The save checks each file.
  files: v.custom<Record<string, FileContent>>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    'must be an object of files by path',
  ),
});

/**
 * `POST /v1/generations`: saves a generation, from a JSON object with its files, a form with a file
 * for each, or a tar whose details are in the query.
 */
export function saveGeneration(storage: Storage): Handler {
  return async (c) => {
    const receipt = await save(storage, c, mediaType(c));
    const answer = { ...receipt, ...(await describe(storage, receipt)) };
    return c.json(toWire(answer) as object, receipt.created ? 201 : 200);
  };
}

/** What the body is said to be, in lower case. */
export function mediaType(c: Context): string {
  return c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase() ?? '';
}

function save(storage: Storage, c: Context, type: string): Promise<Receipt> {
  if (type === 'application/json') return saveJson(storage, c);
  if (type === 'multipart/form-data') return saveForm(storage, c);
  if (TAR_TYPES.has(type)) {
    const details = parseFields(c.req.query());
    return storage.saveTar({ ...details, tar: Readable.from(bodyOf(c)) });
  }
  throw new StorageError(
    'invalid_input',
    'Cannot use the request: content-type: must be application/json, multipart/form-data, application/gzip or application/x-tar',
  );
}

async function saveJson(storage: Storage, c: Context): Promise<Receipt> {
  let body: unknown;
  try {
    // Bytes that are no UTF-8 would become others without a word.
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await c.req.arrayBuffer());
    body = JSON.parse(text);
  } catch (cause) {
    if (cause instanceof StorageError) throw cause;
    throw new StorageError('invalid_input', 'Cannot use the request: body: not JSON in UTF-8', {
      cause,
    });
  }
  const { files, ...details } = validate(BodySchema, body);
  // A file may have any name, also one that an object is born with.
  return storage.save({ ...toDetails(details), files: new Map(Object.entries(files)) });
}

/** Fields come before the files: the generation is named before its files are taken. */
async function saveForm(storage: Storage, c: Context): Promise<Receipt> {
  const fields: Record<string, string> = {};
  const form = openForm(c.req.header('content-type') ?? '');
  let writer: ReturnType<Storage['writer']> | null = null;
  const writing: Promise<void>[] = [];
  const streams: Readable[] = [];
  let failure: { error: unknown } | null = null;
  const fail = (error: unknown) => {
    failure ??= { error };
    form.destroy();
  };
  form.on('field', (name, value, _nameCut, valueCut) => {
    if (writer !== null) {
      fail(
        new StorageError(
          'invalid_input',
          `Cannot use the request: ${name}: fields come before the files`,
        ),
      );
    } else if (valueCut) {
      fail(
        new StorageError('too_large', `Cannot use the request: ${name}: over ${FIELD_BYTES} bytes`),
      );
    } else fields[name] = value;
  });
  form.on('file', (_name, stream, path) => {
    stream.on('error', () => {});
    streams.push(stream);
    try {
      writer ??= storage.writer(parseFields(fields));
      const written = writer.write(path ?? '', stream);
      writing.push(written);
      written.catch(fail);
    } catch (error) {
      fail(error);
    }
  });
  for (const limit of ['partsLimit', 'fieldsLimit'] as const) {
    form.on(limit, () =>
      fail(new StorageError('too_large', 'Cannot use the request: it has too many fields')),
    );
  }
  try {
    await pipeline(Readable.from(bodyOf(c)), form);
    await Promise.all(writing);
    if (failure !== null) throw (failure as { error: unknown }).error;
    // A form without a file: what is wrong with it is told as for any other.
    writer ??= storage.writer(parseFields(fields));
    return await writer.commit();
  } catch (error) {
    // A file that was cut off would be waited for, for ever.
    for (const stream of streams) stream.destroy(error as Error);
    await Promise.allSettled(writing);
    await (writer as ReturnType<Storage['writer']> | null)?.abort();
    const known = (failure as { error: unknown } | null)?.error ?? error;
    if (known instanceof StorageError) throw known;
    throw new StorageError('invalid_input', 'Cannot use the request: it is no whole form', {
      cause: known,
    });
  }
}

function openForm(contentType: string): BusboyInstance {
  try {
    return new Busboy({
      headers: { 'content-type': contentType },
      preservePath: true,
      limits: { fieldSize: FIELD_BYTES, fields: FIELDS },
    });
  } catch (cause) {
    throw new StorageError(
      'invalid_input',
      'Cannot use the request: content-type: has no boundary',
      { cause },
    );
  }
}

async function* bodyOf(c: Context): AsyncGenerator<Uint8Array> {
  if (c.req.raw.body !== null) yield* c.req.raw.body;
}

/** Details as a form or a query has them: all of them texts. */
function parseFields(fields: Record<string, string>): SaveDetails {
  const { metadata, replace, ...rest } = fields;
  return toDetails(
    validate(DetailsSchema, {
      ...rest,
      ...(metadata === undefined ? {} : { metadata: parseJson(metadata) }),
      ...(replace === undefined
        ? {}
        : { replace: replace === 'true' ? true : replace === 'false' ? false : replace }),
    }),
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new StorageError('invalid_input', 'Cannot use the request: metadata: not JSON', {
      cause,
    });
  }
}

function toDetails(details: v.InferOutput<typeof DetailsSchema>): SaveDetails {
  const { project_id, version, generation_id, owner_id, metadata, replace } = details;
  return {
    projectId: project_id,
    ...(version === undefined ? {} : { version: parseVersion(version) }),
    ...(generation_id === undefined ? {} : { generationId: generation_id }),
    ...(owner_id === undefined ? {} : { ownerId: owner_id }),
    // What it is, the save itself checks.
    ...(metadata === undefined ? {} : { metadata: metadata as Record<string, unknown> }),
    ...(replace === undefined ? {} : { replace }),
  };
}
