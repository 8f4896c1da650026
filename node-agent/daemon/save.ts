import { Readable } from 'node:stream';
import type { Context, Handler } from 'hono';
import { DEFAULT_LIMITS, StorageError, validate } from '../contract.ts';
import { toWire } from '../events/wire.ts';
import { DetailsSchema, parseStrictly, toDetails } from '../save/json-input.ts';
import type { Receipt } from '../save/receipt.ts';
import { parseLinks, type SaveDetails } from '../save/request.ts';
import { describe } from '../storage/describe.ts';
import type { Storage } from '../storage/storage.ts';
import { Turns } from '../threads/turns.ts';
import { RequestBody } from './body.ts';
import { JsonScan } from './json-scan.ts';
import type { LogVariables } from './log.ts';
import { type Part, readForm } from './multipart.ts';

/** Bytes of a JSON body: what is larger goes as multipart or as a tar. */
const JSON_BYTES = 64 * 1024 * 1024;
/** What is larger takes its turn. */
const FREE_JSON_BYTES = 4 * 1024 * 1024;
const largeBodies = new Turns(1);
/** How long a body may take to arrive in its turn, in milliseconds. */
const TURN_MS = 60_000;
/** A file has eight values at most; the rest is for the metadata. */
const JSON_LIMITS = { values: 8 * DEFAULT_LIMITS.files + 100_000, depth: 100 };
/** The fields of a form; whatever else has a name is a file. */
const FIELDS: ReadonlySet<string> = new Set(Object.keys(DetailsSchema.entries));
/** Bytes of one field of a form. */
const FIELD_BYTES = 1024 * 1024;

const TAR_TYPES = new Set(['application/gzip', 'application/x-gzip', 'application/x-tar']);
/** The second is what Windows says. */
const ZIP_TYPES = new Set(['application/zip', 'application/x-zip-compressed']);

/**
 * `POST /v1/generations`: saves a generation, from a JSON object with its files, a form with a file
 * for each, or a tar or zip whose details are in the query.
 */
export function saveGeneration(storage: Storage): Handler<{ Variables: LogVariables }> {
  return async (c) => {
    const body = new RequestBody(c);
    let receipt: Receipt;
    try {
      receipt = await save(storage, c, body);
    } catch (error) {
      await body.passOverRest();
      throw error;
    }
    c.set('about', { project_id: receipt.projectId, version: receipt.version });
    const answer = { ...receipt, ...(await describe(storage, receipt)) };
    return c.json(toWire(answer) as object, receipt.created ? 201 : 200);
  };
}

/** What the body is said to be, in lower case. */
function mediaType(c: Context): string {
  return c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase() ?? '';
}

async function save(storage: Storage, c: Context, body: RequestBody): Promise<Receipt> {
  const type = mediaType(c);
  const encoding = c.req.header('content-encoding') ?? 'identity';
  if (encoding.toLowerCase() !== 'identity') {
    throw refuse(
      `content-encoding: is ${JSON.stringify(encoding.slice(0, 100))}, must be left out`,
    );
  }
  if (type === 'application/json') return saveJson(storage, c, body);
  if (type === 'multipart/form-data') return saveForm(storage, c, body);
  if (TAR_TYPES.has(type) || ZIP_TYPES.has(type)) {
    const { links, ...fields } = readQuery(c);
    const { requestId } = c.var;
    const details = { ...parseFields(fields), links: parseLinks(links), requestId };
    const archive = Readable.from(body);
    return TAR_TYPES.has(type)
      ? storage.saveTar({ ...details, tar: archive })
      : storage.saveZip({ ...details, zip: archive });
  }
  throw new StorageError(
    'invalid_input',
    'Cannot use the request: content-type: must be application/json, multipart/form-data, application/gzip, application/x-tar or application/zip',
  );
}

/**
 * Counted while it is read; what it is is found out in another thread. Of large ones one at a time is
 * held in memory: who sends the others waits.
 */
async function saveJson(storage: Storage, c: Context, body: RequestBody): Promise<Receipt> {
  const tooLarge = new StorageError(
    'too_large',
    `Cannot read the request: over ${JSON_BYTES} bytes of JSON; send a form or a tar`,
  );
  if (Number(c.req.header('content-length') ?? 0) > JSON_BYTES) throw tooLarge;
  const memory = new SharedArrayBuffer(0, { maxByteLength: JSON_BYTES });
  const scan = new JsonScan(JSON_LIMITS);
  let size = 0;
  let endTurn: (() => void) | null = null;
  try {
    let deadline = Number.POSITIVE_INFINITY;
    for await (const piece of body.until(() => deadline)) {
      if (size + piece.length > JSON_BYTES) throw tooLarge;
      scan.push(piece);
      if (size + piece.length > FREE_JSON_BYTES && endTurn === null) {
        endTurn = await largeBodies.take();
        // Others wait for whoever is slow.
        deadline = performance.now() + TURN_MS;
      }
      memory.grow(size + piece.length);
      new Uint8Array(memory, size).set(piece);
      size += piece.length;
    }
    return await storage.saveJson(new Uint8Array(memory), c.var.requestId);
  } finally {
    endTurn?.();
  }
}

/** Fields come before the files: the generation is named before its files are taken. */
async function saveForm(storage: Storage, c: Context, body: RequestBody): Promise<Receipt> {
  const fields = new Map<string, string>();
  let writer: ReturnType<Storage['writer']> | null = null;
  const begin = () =>
    storage.writer({ ...parseFields(Object.fromEntries(fields)), requestId: c.var.requestId });
  try {
    const parts = readForm(c.req.header('content-type') ?? '', body);
    for await (const { name, path, body: content } of parts) {
      if (path === null) {
        if (writer !== null) throw refuse(`${name}: fields come before the files`);
        if (!FIELDS.has(name)) throw refuse(`${name}: there is no such field, and it is no file`);
        if (fields.has(name)) throw refuse(`${name}: it is there twice`);
        fields.set(name, await readField(name, content));
        continue;
      }
      // A program that sends a field as a file would have it saved as one.
      if (FIELDS.has(name)) throw refuse(`${name}: it is a field, and came as a file`);
      writer ??= begin();
      await writer.write(path, content);
    }
    // A form without a file: what is wrong with it is told as for any other.
    writer ??= begin();
    return await writer.commit();
  } catch (error) {
    await writer?.abort();
    throw error;
  }
}

async function readField(name: string, body: Part['body']): Promise<string> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of body) {
    size += piece.length;
    if (size > FIELD_BYTES) {
      const message = `Cannot use the request: ${name}: over ${FIELD_BYTES} bytes`;
      throw new StorageError('too_large', message);
    }
    pieces.push(Buffer.from(piece));
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(pieces));
  } catch {
    throw refuse(`${name}: it is not UTF-8`);
  }
}

/** Of two values under one name neither is taken. */
function readQuery(c: Context): Record<string, string> {
  return Object.fromEntries(
    Object.entries(c.req.queries()).map(([name, [value = '', ...more]]) => {
      if (more.length > 0) throw refuse(`${name}: it is there twice`);
      return [name, value];
    }),
  );
}

/** Details as a form or a query has them: all of them texts. */
function parseFields(fields: Record<string, string>): SaveDetails {
  const { metadata, replace, ...rest } = fields;
  return toDetails(
    validate(DetailsSchema, {
      ...rest,
      ...(metadata === undefined
        ? {}
        : { metadata: parseStrictly(metadata, 'metadata: not JSON') }),
      ...(replace === undefined
        ? {}
        : { replace: replace === 'true' ? true : replace === 'false' ? false : replace }),
    }),
  );
}

function refuse(problem: string): StorageError {
  return new StorageError('invalid_input', `Cannot use the request: ${problem}`);
}
