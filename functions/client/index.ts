/** The client of the Edge API, for browsers, Node and Deno: its types are those of the app. */
import { type ClientResponse, hc } from 'hono/client';
import type {
  Activation,
  Diff,
  FileEntry,
  Generation,
  GenerationDetails,
  Page,
  Project,
  Usage,
  UsageHistory,
} from '../_shared/contract/api.ts';
import type { Folder } from '../_shared/contract/archive-names.ts';
import type {
  DeletedGeneration,
  DeletedProject,
  UndeletableGeneration,
  UndeletableProject,
  UndeletedGeneration,
  UndeletedProject,
} from '../_shared/contract/deletions.ts';
import type { Download } from '../_shared/contract/downloads.ts';
import {
  ERROR_CODES,
  type ErrorCode,
  type Problem,
  StorageError,
} from '../_shared/contract/errors.ts';
import { parseId, parseVersion } from '../_shared/contract/ids.ts';
import type { EndedLink, Link } from '../_shared/contract/links.ts';
import { pathProblem } from '../_shared/contract/paths.ts';
import type { Api } from '../generations/app.ts';
import { type Live, LiveUpdates } from './live.ts';
import { type News, waitUntil } from './wait.ts';

export type {
  Activation,
  DeletedGeneration,
  DeletedProject,
  Diff,
  Download,
  EndedLink,
  ErrorCode,
  FileEntry,
  Folder,
  Generation,
  GenerationDetails,
  Link,
  Live,
  Page,
  Project,
  UndeletableGeneration,
  UndeletableProject,
  UndeletedGeneration,
  UndeletedProject,
  Usage,
  UsageHistory,
};
export { StorageError };

/** Gives the access token of whoever is signed in; `null` where nobody is. Asked at every call. */
export type GetToken = () => string | null | Promise<string | null>;

export type ClientOptions = Readonly<{
  /** How long one call may take, in milliseconds. @default 60000 */
  timeoutMs?: number;
  /**
   * A supabase-js client whose Realtime tells `waitFor` what becomes of generations. @default none: it is
   * asked for again and again
   */
  live?: Live;
}>;

export type CallOptions = Readonly<{ signal?: AbortSignal }>;
export type PageOptions = Readonly<{ limit?: number; cursor?: string }>;
/** Where the generation id is given, it must match, else `not_found`. */
export type GenerationOptions = Readonly<{ generation?: string }>;
/** @property purge whether it is gone for good at once; false by default */
export type DeleteOptions = Readonly<{ purge?: boolean }>;
/** @property digest of content that was replaced: it takes the place of what is there */
export type UndeleteOptions = GenerationOptions & Readonly<{ digest?: string }>;
export type FolderOptions = GenerationOptions & Readonly<{ folder?: Folder }>;
export type DownloadOptions = GenerationOptions &
  Readonly<{
    /** @default 'tar.gz' */
    format?: 'tar.gz' | 'zip';
    /** Seconds. @default 3600 */
    expiresIn?: number;
    /** Whether it is a link that `endLink` ends. @default false */
    revocable?: boolean;
    /** Where to download from, if a replica there has it. @default where the function runs */
    region?: string;
  }>;
/** @property project those to this project alone */
export type LinksOptions = PageOptions & Readonly<{ project?: string }>;
export type DiffOptions = Readonly<{
  from: number;
  to: number;
  folder?: Folder;
  /** Whether to say what changed inside the files. @default false */
  unified?: boolean;
  /** This file alone. */
  path?: string;
}>;

/**
 * One method a route. Each throws `StorageError` with the `code` of the answer (`unavailable`
 * where there is none), and whatever the signal was aborted with.
 */
export type Client = Readonly<{
  listProjects(options?: PageOptions, call?: CallOptions): Promise<Page<Project>>;
  createProject(options: { name: string }, call?: CallOptions): Promise<Project>;
  /** It can be undeleted for a while, with all that is deleted with it. */
  deleteProject(
    project: string,
    options?: DeleteOptions,
    call?: CallOptions,
  ): Promise<DeletedProject>;
  /** Those whose deletion can be undone, the last one first. */
  listDeletedProjects(options?: PageOptions, call?: CallOptions): Promise<Page<UndeletableProject>>;
  undeleteProject(project: string, call?: CallOptions): Promise<UndeletedProject>;
  listGenerations(
    project: string,
    options?: PageOptions,
    call?: CallOptions,
  ): Promise<Page<Generation>>;
  showGeneration(
    project: string,
    version: number,
    options?: GenerationOptions,
    call?: CallOptions,
  ): Promise<GenerationDetails>;
  /** A URL that needs nothing else: for a link, or to fetch. */
  downloadGeneration(
    project: string,
    version: number,
    options?: DownloadOptions,
    call?: CallOptions,
  ): Promise<Download>;
  /** Your links that can be followed, newest first, each with how often it was. */
  listLinks(options?: LinksOptions, call?: CallOptions): Promise<Page<Link>>;
  /** Ends a link: nobody downloads by it any more, after 30 seconds at most. */
  endLink(id: string, call?: CallOptions): Promise<EndedLink>;
  listFiles(
    project: string,
    version: number,
    options?: FolderOptions & PageOptions,
    call?: CallOptions,
  ): Promise<Page<FileEntry>>;
  /** The content of one file; its `type` is what it may be shown as. */
  getFile(
    project: string,
    version: number,
    path: string,
    options?: FolderOptions,
    call?: CallOptions,
  ): Promise<Blob>;
  diffGenerations(project: string, options: DiffOptions, call?: CallOptions): Promise<Diff>;
  activateGeneration(
    project: string,
    version: number,
    options?: GenerationOptions,
    call?: CallOptions,
  ): Promise<Activation>;
  deleteGeneration(
    project: string,
    version: number,
    options?: GenerationOptions & DeleteOptions,
    call?: CallOptions,
  ): Promise<DeletedGeneration>;
  /** What can be undone in a project: deletions, and replacements. */
  listDeletedGenerations(
    project: string,
    options?: PageOptions,
    call?: CallOptions,
  ): Promise<Page<UndeletableGeneration>>;
  /** Undoes a deletion, or brings content back that was replaced. */
  undeleteGeneration(
    project: string,
    version: number,
    options?: UndeleteOptions,
    call?: CallOptions,
  ): Promise<UndeletedGeneration>;
  showUsage(call?: CallOptions): Promise<Usage>;
  /** What was kept and downloaded, day by day, today last. */
  showUsageHistory(options?: UsageHistoryOptions, call?: CallOptions): Promise<UsageHistory>;
  /**
   * Waits until a generation has a status: also one that is still on its way from its host, of which
   * nothing is known here. `uploaded` is what downloads need. It hears of it at once where there is a
   * `live` client whose Realtime works, and asks every few seconds where there is not.
   *
   * @throws StorageError `conflict` where its upload was given up, with the reason; `unavailable` where
   *   it takes longer than `timeoutMs`; as `showGeneration`
   */
  waitFor(
    project: string,
    version: number,
    status: 'uploaded' | 'verified',
    options?: WaitOptions,
    call?: CallOptions,
  ): Promise<GenerationDetails>;
}>;

/** @property days 30 by default, 366 at most */
export type UsageHistoryOptions = Readonly<{ days?: number }>;

/** @property timeoutMs how long, in milliseconds; five minutes by default */
export type WaitOptions = GenerationOptions & Readonly<{ timeoutMs?: number }>;

type SendOptions = { headers: Record<string, string>; init: RequestInit };

const TIMEOUT_MS = 60_000;

/**
 * Makes a client.
 *
 * @param url of the Supabase project, for example `https://abc.supabase.co`
 */
export function createClient(url: string, getToken: GetToken, options: ClientOptions = {}): Client {
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  const api = hc<Api>(`${url.replace(/\/+$/, '')}/functions/v1/generations`);

  /** Makes a call and reads its answer; what is wrong with either is an error. */
  async function answerOf<A extends ClientResponse<unknown>, T>(
    call: CallOptions | undefined,
    send: (options: SendOptions) => Promise<A>,
    read: (answer: A) => Promise<unknown>,
  ): Promise<T> {
    const timeout = AbortSignal.timeout(timeoutMs);
    const signal = call?.signal ? AbortSignal.any([call.signal, timeout]) : timeout;
    // Whoever gives the token may take for ever, or fail in a way of its own.
    const token = await orAborted(async () => getToken(), signal).catch((error: unknown) => {
      throw timeout.aborted ? tooLate(timeoutMs) : error;
    });
    const headers: Record<string, string> =
      token === null ? {} : { authorization: `Bearer ${token}` };
    try {
      const answer = await send({ headers, init: { signal } });
      if (!answer.ok) throw await errorOf(answer);
      return (await read(answer)) as T;
    } catch (error) {
      if (error instanceof StorageError) throw error;
      if (call?.signal?.aborted) throw call.signal.reason;
      if (timeout.aborted) throw tooLate(timeoutMs);
      const message = 'Cannot reach the function: the network broke off';
      throw new StorageError('unavailable', message, { cause: error });
    }
  }

  function jsonOf<T>(
    call: CallOptions | undefined,
    send: (options: SendOptions) => Promise<ClientResponse<T>>,
  ): Promise<T> {
    return answerOf(call, send, (answer) => answer.json());
  }

  /** A page of a list whose items depend on what is asked for. */
  function pageFrom<T, A extends ClientResponse<unknown>>(
    call: CallOptions | undefined,
    send: (options: SendOptions) => Promise<A>,
  ): Promise<Page<T>> {
    return answerOf(call, send, (answer) => answer.json());
  }

  const { projects, usage, links } = api;
  const one = projects[':project'];
  const version = one[':version'];
  const methods: Omit<Client, 'waitFor'> = {
    listProjects: (options = {}, call) =>
      pageFrom(call, (init) => projects.$get({ query: pageQuery(options) }, init)),
    listDeletedProjects: (options = {}, call) => {
      const query = { ...pageQuery(options), deleted: 'true' };
      return pageFrom(call, (init) => projects.$get({ query }, init));
    },
    createProject: ({ name }, call) =>
      jsonOf(call, (init) => projects.$post({ json: { name } }, init)),
    deleteProject: (project, { purge = false } = {}, call) => {
      const query = { purge: String(purge) };
      return jsonOf(call, (init) => one.$delete({ param: projectParam(project), query }, init));
    },
    undeleteProject: (project, call) =>
      jsonOf(call, (init) => one.undelete.$post({ param: projectParam(project) }, init)),
    listGenerations: (project, options = {}, call) =>
      pageFrom(call, (init) =>
        one.$get({ param: projectParam(project), query: pageQuery(options) }, init),
      ),
    listDeletedGenerations: (project, options = {}, call) => {
      const query = { ...pageQuery(options), deleted: 'true' };
      return pageFrom(call, (init) => one.$get({ param: projectParam(project), query }, init));
    },
    showGeneration: (project, number, { generation } = {}, call) =>
      jsonOf(call, (init) =>
        version.$get({ param: versionParam(project, number), query: { generation } }, init),
      ),
    downloadGeneration: (project, number, options = {}, call) => {
      const { generation, region, format, expiresIn: expires_in, revocable } = options;
      const param = versionParam(project, number);
      return jsonOf(call, (init) =>
        version.download.$post(
          { param, query: { generation, region }, json: { format, expires_in, revocable } },
          init,
        ),
      );
    },
    listLinks: ({ project, ...page } = {}, call) => {
      const query = { ...pageQuery(page), project };
      return jsonOf(call, (init) => links.$get({ query }, init));
    },
    endLink: (id, call) =>
      jsonOf(call, (init) => links[':id'].$delete({ param: { id: parseLinkId(id) } }, init)),
    listFiles: (project, number, options = {}, call) => {
      const { generation, folder } = options;
      const query = { ...pageQuery(options), generation, folder };
      const param = versionParam(project, number);
      return jsonOf(call, (init) => version.files.$get({ param, query }, init));
    },
    getFile: async (project, number, path, options = {}, call) => {
      const param = { ...versionParam(project, number), path: encodePath(path) };
      const file = version.files[':path{.+}'];
      const send = (init: SendOptions) => file.$get({ param, query: options }, init);
      return answerOf(call, send, (answer) => answer.blob());
    },
    diffGenerations: (project, { from, to, folder, unified = false, path }, call) => {
      const numbers = { from: String(parseVersion(from)), to: String(parseVersion(to)) };
      const query = { ...numbers, folder, unified: String(unified), path };
      const param = projectParam(project);
      return jsonOf(call, (init) => one.diff.$get({ param, query }, init));
    },
    activateGeneration: (project, number, { generation } = {}, call) => {
      const param = versionParam(project, number);
      return jsonOf(call, (init) => version.activate.$post({ param, query: { generation } }, init));
    },
    deleteGeneration: (project, number, { generation, purge = false } = {}, call) => {
      const query = { generation, purge: String(purge) };
      const param = versionParam(project, number);
      return jsonOf(call, (init) => version.$delete({ param, query }, init));
    },
    undeleteGeneration: (project, number, { generation, digest } = {}, call) => {
      const query = { generation, digest };
      const param = versionParam(project, number);
      return jsonOf(call, (init) => version.undelete.$post({ param, query }, init));
    },
    showUsage: (call) => jsonOf(call, (init) => usage.$get({}, init)),
    showUsageHistory: ({ days } = {}, call) => {
      const query = { days: days === undefined ? undefined : String(days) };
      return jsonOf(call, (init) => usage.history.$get({ query }, init));
    },
  };
  const live = options.live === undefined ? null : new LiveUpdates(options.live);
  const waitFor: Client['waitFor'] = async (project, number, status, options, call) => {
    const { timeoutMs: waitMs, ...generation } = options ?? {};
    const show = () => methods.showGeneration(project, number, generation, call);
    let wake = () => {};
    const news: News | null = live && {
      isOn: () => live.isOn,
      next: () => new Promise((resolve) => (wake = resolve)),
    };
    const listener = { project, version: number, wake: () => wake() };
    const end = live?.listen(listener, getToken);
    try {
      return await waitUntil(show, status, {
        news,
        ...(waitMs === undefined ? {} : { waitMs }),
        ...(call?.signal === undefined ? {} : { signal: call.signal }),
      });
    } finally {
      end?.();
    }
  };
  return rejecting({ ...methods, waitFor });
}

/** What is wrong with what a method was given is no error of its caller's line, but of the call. */
function rejecting<T extends Readonly<Record<string, (...args: never[]) => Promise<unknown>>>>(
  methods: T,
): T {
  const wrapped = Object.entries(methods).map(([name, method]) => [
    name,
    async (...args: never[]) => method(...args),
  ]);
  return Object.fromEntries(wrapped) as T;
}

/**
 * Goes through a list page by page.
 *
 * @example for await (const project of allItems((cursor) => client.listProjects({ cursor }))) …
 */
export async function* allItems<T>(
  list: (cursor: string | undefined) => Promise<Page<T>>,
): AsyncGenerator<T> {
  let cursor: string | undefined;
  do {
    const page = await list(cursor);
    yield* page.items;
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
}

// A URL takes `..` for the way up, so names are checked before they are in one.

function projectParam(project: string) {
  return { project: parseId(project, 'project id') };
}

function versionParam(project: string, version: number) {
  return { ...projectParam(project), version: String(parseVersion(version)) };
}

function parseLinkId(id: string): string {
  if (/^[0-9a-f-]{36}$/i.test(id)) return id;
  throw new StorageError('invalid_input', `Cannot use ${JSON.stringify(id)}: not the id of a link`);
}

function encodePath(path: string): string {
  const problem = pathProblem(path);
  if (problem === null) return path.split('/').map(encodeURIComponent).join('/');
  throw new StorageError('invalid_input', `Cannot use path ${JSON.stringify(path)}: ${problem}`);
}

function pageQuery({ limit, cursor }: PageOptions) {
  return { limit: limit === undefined ? undefined : String(limit), cursor };
}

async function errorOf(answer: ClientResponse<unknown>): Promise<StorageError> {
  const problem = (await answer.json().catch(() => null)) as Partial<Problem> | null;
  if (problem?.code !== undefined && problem.code in ERROR_CODES) {
    const { code, detail = code, request_id, download_url } = problem;
    return new StorageError(code, detail, {
      cause: problem,
      ...(request_id === undefined ? {} : { requestId: request_id }),
      ...(download_url === undefined ? {} : { downloadUrl: download_url }),
    });
  }
  // Not the function's word but the platform's in front of it.
  const known = Object.entries(ERROR_CODES).find(([, { status }]) => status === answer.status);
  const code = (known?.[0] as ErrorCode | undefined) ?? 'unavailable';
  return new StorageError(
    code,
    `Cannot reach the function: the platform answered ${answer.status}`,
  );
}

/** Waits for something that knows no signals. */
async function orAborted<T>(wait: () => Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([wait(), promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function tooLate(timeoutMs: number): StorageError {
  const message = `Cannot reach the function: no answer within ${timeoutMs} ms`;
  return new StorageError('unavailable', message);
}
