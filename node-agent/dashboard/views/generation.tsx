/** One generation: what is known of it, its tree, and a file of it. */
import { useCallback } from 'preact/hooks';
import { api, type FileEntry, type GenerationDetails } from '../api.ts';
import { bytes, counted, moment } from '../format.ts';
import { linkTo, useLoaded } from '../hooks.ts';
import { Action } from '../parts/action.tsx';
import { Code } from '../parts/code.tsx';
import { Crumbs } from '../parts/crumbs.tsx';
import { Badge, Shown } from '../parts/state.tsx';
import { Tree } from '../parts/tree.tsx';
import { decode } from '../text.ts';
import { Links } from './links.tsx';

type Props = Readonly<{ project: string; version: number; path: string | null }>;

export function GenerationView({ project, version, path }: Props) {
  const shown = useLoaded(() => api.generation(project, version), [project, version], {
    live: true,
  });
  const status = useLoaded(api.status, []);
  return (
    <>
      <div class="title">
        <Crumbs project={project} />
        <Shown loaded={shown}>{(value) => <Facts value={value} again={shown.again} />}</Shown>
      </div>
      {/* Whoever has the secret key may end what users made. */}
      {shown.value !== null && status.value?.cloud.key === 'secret' && (
        <Links project={project} version={version} />
      )}
      {shown.value !== null && (
        <Files project={project} version={version} path={path} digest={shown.value.digest} />
      )}
    </>
  );
}

/** @property digest of the content: another may take its place while it is looked at */
function Files({ project, version, path, digest }: Props & { digest: string | null }) {
  const files = useLoaded(() => api.files(project, version), [project, version, digest]);
  const linkOf = useCallback(
    (file: string) => linkTo('projects', project, version, file),
    [project, version],
  );
  return (
    <Shown loaded={files}>
      {({ items }) => (
        <div class="split">
          <Tree files={items} selected={path} linkOf={linkOf} />
          <Selected project={project} version={version} path={path} items={items} />
        </div>
      )}
    </Shown>
  );
}

function Facts({ value, again }: { value: GenerationDetails; again: () => void }) {
  const { project_id: project, version } = value;
  const activate = async () => {
    await api.activate(project, version);
    again();
  };
  const download = async () => {
    const { url } = await api.download(project, version);
    location.assign(url);
  };
  const remove = async () => {
    await api.remove(project, version);
    location.hash = linkTo('projects', project);
  };
  const metadata = Object.entries(value.metadata ?? {});
  return (
    <section>
      <div class="head">
        <h1>
          {project} v{version} <Badge status={value.status} />{' '}
          {value.active && <span class="badge good">active</span>}
        </h1>
        <div class="actions">
          <Action label="Download" kind="primary" run={download} />
          {!value.active && <Action label="Activate" run={activate} />}
          <Action
            label="Delete"
            kind="danger"
            run={remove}
            question={`Delete ${project} v${version}, here and in the cloud? It can be undone for some days.`}
          />
        </div>
      </div>
      {value.failure !== null && <p class="trouble">{value.failure}</p>}
      <dl class="facts">
        <div>
          <dt>saved</dt>
          <dd>{moment(value.created_at)}</dd>
        </div>
        <div>
          <dt>files</dt>
          <dd>
            {value.file_count === null ? '–' : counted(value.file_count, 'file')},{' '}
            {bytes(value.bytes)}; archive {bytes(value.archive_bytes)}
          </dd>
        </div>
      </dl>
      <details>
        <summary>Details</summary>
        <dl class="facts">
          <div>
            <dt>generation</dt>
            <dd class="id">{value.generation_id}</dd>
          </div>
          <div>
            <dt>sha256</dt>
            <dd class="id">{value.sha256 ?? '–'}</dd>
          </div>
        </dl>
        {metadata.length > 0 && (
          <Code path="metadata.json" text={JSON.stringify(value.metadata, null, 2)} />
        )}
      </details>
    </section>
  );
}

function Selected({ project, version, path, items }: Props & { items: readonly FileEntry[] }) {
  if (path === null) return <p class="quiet pane">Choose a file.</p>;
  const entry = items.find((file) => file.path === path);
  if (entry === undefined)
    return <p class="trouble pane">There is no file {JSON.stringify(path)} here.</p>;
  return <File key={`${version} ${path}`} project={project} version={version} entry={entry} />;
}

/** What is larger is for downloads. */
const MOST_BYTES = 20_000_000;

function File({ project, version, entry }: { project: string; version: number; entry: FileEntry }) {
  const { path, size } = entry;
  const isTooLarge = size > MOST_BYTES;
  const content = useLoaded(
    async () => (isTooLarge ? null : { text: decode(await api.file(project, version, path)) }),
    [project, version, path, entry.sha256],
  );
  return (
    <div class="pane">
      <h2 class="path">
        {path} <small>{bytes(size)}</small>
      </h2>
      {isTooLarge ? (
        <p class="quiet">It is too large to be shown: over {bytes(MOST_BYTES)}.</p>
      ) : (
        <Shown loaded={content}>
          {(value) =>
            value.text === null ? (
              <p class="quiet">It is no text.</p>
            ) : (
              <Code path={path} text={value.text} />
            )
          }
        </Shown>
      )}
    </div>
  );
}
