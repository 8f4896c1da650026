/** Calls of the daemon. What they answer has the types of its schemas. */
import type * as v from 'valibot';
import type { CloudLink as Link } from '../cloud/links.ts';
import type { Problem } from '../contract.ts';
import type {
  AddedHostSchema,
  AddHostSchema,
  AssignedHostSchema,
  HostSchema,
} from '../daemon/host-schemas.ts';
import type {
  ActivitySchema,
  DiffSchema,
  DownloadSchema,
  GenerationDetailsSchema,
  GenerationSchema,
  ProjectSchema,
  SpanSchema,
  StatusSchema,
} from '../daemon/schemas.ts';

export type Status = v.InferOutput<typeof StatusSchema>;
export type Span = v.InferOutput<typeof SpanSchema>;
export type Project = v.InferOutput<typeof ProjectSchema>;
export type Generation = v.InferOutput<typeof GenerationSchema>;
export type GenerationDetails = v.InferOutput<typeof GenerationDetailsSchema>;
export type Diff = v.InferOutput<typeof DiffSchema>;
export type FileEntry = Diff['added'][number];
export type { Link };
export type Host = v.InferOutput<typeof HostSchema>;
/** A host, and the key that it was just given. */
export type Added = v.InferOutput<typeof AddedHostSchema>;
export type Range = v.InferOutput<typeof ActivitySchema>['range'];
export type Page<T, Cursor> = Readonly<{ items: T[]; next_cursor: Cursor | null }>;

/** What the daemon answered where it did not do what was asked. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** What to say of what went wrong. */
export function whyOf(problem: unknown): string {
  return problem instanceof Refused ? problem.message : 'The daemon cannot be reached';
}

/** Whether the daemon wants a token, or another one. */
export function wantsToken(problem: unknown): boolean {
  return problem instanceof Refused && problem.status === 401;
}

const TOKEN = 'token';
const TIMEOUT_MS = 60_000;

/** The token of this tab: gone with it. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (text: string) => sessionStorage.setItem(TOKEN, text),
  drop: () => sessionStorage.removeItem(TOKEN),
};

/** What goes along with each request. */
export function authorization(): Record<string, string> {
  const own = token.get();
  return own === null ? {} : { authorization: `Bearer ${own}` };
}

/** @throws Refused; where the daemon cannot be reached what `fetch` throws */
async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const signal = init.signal ? AbortSignal.any([init.signal, timeout]) : timeout;
  const answer = await fetch(path, { ...init, headers: authorization(), signal });
  if (answer.ok) return answer;
  const problem = (await answer.json().catch(() => null)) as Problem | null;
  throw new Refused(answer.status, problem?.detail ?? `The daemon answered ${answer.status}`);
}

async function read<T>(path: string, init?: RequestInit): Promise<T> {
  return (await ask(path, init)).json() as Promise<T>;
}

function post<T>(path: string, body: object = {}): Promise<T> {
  return read(path, { method: 'POST', body: JSON.stringify(body) });
}

const enc = encodeURIComponent;
const at = (project: string, version: number) => `/v1/projects/${enc(project)}/${version}`;

export const api = {
  status: () => read<Status>('/v1/status'),
  activity: (range: Range) => read<{ items: Span[] }>(`/v1/activity?range=${range}`),
  projects: (cursor: string | null) =>
    read<Page<Project, string>>(
      `/v1/projects?limit=100${cursor === null ? '' : `&cursor=${enc(cursor)}`}`,
    ),
  generations: (project: string, cursor: number | null, limit = 200) =>
    read<Page<Generation, number>>(
      `/v1/projects/${enc(project)}?limit=${limit}${cursor === null ? '' : `&cursor=${cursor}`}`,
    ),
  generation: (project: string, version: number) => read<GenerationDetails>(at(project, version)),
  files: (project: string, version: number) =>
    read<Page<FileEntry, never>>(`${at(project, version)}/files`),
  diff: (project: string, from: number, to: number) =>
    read<Diff>(`/v1/projects/${enc(project)}/diff?from=${from}&to=${to}`),
  async file(project: string, version: number, path: string): Promise<Uint8Array> {
    const name = path.split('/').map(enc).join('/');
    const answer = await ask(`${at(project, version)}/files/${name}`);
    return new Uint8Array(await answer.arrayBuffer());
  },
  /** A URL that needs no token: a link to it can be followed. */
  download: (project: string, version: number) =>
    read<v.InferOutput<typeof DownloadSchema>>(`${at(project, version)}/download`),
  activate: (project: string, version: number) => post(`${at(project, version)}/activate`),
  remove: (project: string, version: number) => read(at(project, version), { method: 'DELETE' }),
  undelete: (project: string, version: number) => post(`${at(project, version)}/undelete`),
  links: (project: string, version: number) =>
    read<Page<Link, never>>(`${at(project, version)}/links`),
  endLink: (project: string, version: number, name: string) =>
    read(`${at(project, version)}/links/${name}`, { method: 'DELETE' }),
  retry: () => post<{ retried: number }>('/v1/uploads/retry'),
  hosts: () => read<Page<Host, never>>('/v1/hosts'),
  addHost: (host: v.InferInput<typeof AddHostSchema>) => post<Added>('/v1/hosts', host),
  rotateHostKey: (name: string, expiresIn: number | null) =>
    post<Added>(`/v1/hosts/${enc(name)}/rotate`, { expires_in: expiresIn }),
  assignProjects: (name: string, projects: readonly string[]) =>
    post<v.InferOutput<typeof AssignedHostSchema>>(`/v1/hosts/${enc(name)}/assign`, { projects }),
  revokeHost: (name: string) => post(`/v1/hosts/${enc(name)}/revoke`),
};
