/** Two versions side by side. */

import { useMemo } from 'preact/hooks';
import { api, type Diff } from '../api.ts';
import { bytes, counted } from '../format.ts';
import { linkTo, useLoaded } from '../hooks.ts';
import { Crumbs } from '../parts/crumbs.tsx';
import { Scroll } from '../parts/scroll.tsx';
import { Shown } from '../parts/state.tsx';
import { type DiffRow, sideBySide } from '../side-by-side.ts';
import { decode } from '../text.ts';

type Props = Readonly<{ project: string; from: number; to: number; path: string | null }>;

export function CompareView({ project, from, to, path }: Props) {
  const diff = useLoaded(() => api.diff(project, from, to), [project, from, to]);
  return (
    <>
      <div class="title">
        <Crumbs project={project} />
        <h1>
          {project}: v{from} → v{to}
        </h1>
      </div>
      <Shown loaded={diff}>
        {(value) => (
          <>
            <p class="quiet">
              {counted(value.modified.length, 'file')} changed, {value.added.length} added,{' '}
              {value.removed.length} removed, {value.unchanged.length} the same.
            </p>
            <div class="split">
              <Changes
                diff={value}
                selected={path}
                linkOf={(file) => linkTo('projects', project, 'compare', from, to, file)}
              />
              {path === null ? (
                <p class="quiet pane">Choose a file.</p>
              ) : (
                <Sides key={path} project={project} diff={value} path={path} />
              )}
            </div>
          </>
        )}
      </Shown>
    </>
  );
}

function Changes({
  diff,
  selected,
  linkOf,
}: {
  diff: Diff;
  selected: string | null;
  linkOf: (path: string) => string;
}) {
  const kinds = [
    ['changed', diff.modified],
    ['added', diff.added],
    ['removed', diff.removed],
  ] as const;
  return (
    <nav class="tree" aria-label="Changed files">
      <ul>
        {kinds.flatMap(([kind, files]) =>
          files.map(({ path }) => (
            <li key={path}>
              <a href={linkOf(path)} aria-current={path === selected ? 'true' : undefined}>
                <span>{path}</span>
                <small class={kind}>{kind}</small>
              </a>
            </li>
          )),
        )}
      </ul>
    </nav>
  );
}

/** What is larger is for other tools. */
const MOST_BYTES = 2_000_000;

function Sides({ project, diff, path }: { project: string; diff: Diff; path: string }) {
  const changed = diff.modified.find((file) => file.path === path);
  const before = changed?.from ?? diff.removed.find((file) => file.path === path) ?? null;
  const after = changed?.to ?? diff.added.find((file) => file.path === path) ?? null;
  const isTooLarge = Math.max(before?.size ?? 0, after?.size ?? 0) > MOST_BYTES;
  const texts = useLoaded(async () => {
    const read = async (version: number, isThere: boolean) =>
      isThere ? decode(await api.file(project, version, path)) : '';
    if (isTooLarge) return [null, null];
    return Promise.all([read(diff.from, before !== null), read(diff.to, after !== null)]);
  }, [project, diff, path]);
  return (
    <div class="pane">
      <h2 class="path">
        {path}{' '}
        <small>
          {bytes(before?.size ?? 0)} → {bytes(after?.size ?? 0)}
        </small>
      </h2>
      {isTooLarge ? (
        <p class="quiet">They are too large to be compared here: over {bytes(MOST_BYTES)}.</p>
      ) : (
        <Shown loaded={texts}>
          {([left = null, right = null]) =>
            left === null || right === null ? (
              <p class="quiet">They are no texts.</p>
            ) : (
              <Hunks before={left} after={right} from={diff.from} to={diff.to} />
            )
          }
        </Shown>
      )}
    </div>
  );
}

function Hunks({
  before,
  after,
  from,
  to,
}: {
  before: string;
  after: string;
  from: number;
  to: number;
}) {
  const hunks = useMemo(() => sideBySide(before, after), [before, after]);
  if (hunks === null) return <p class="quiet">They have too little in common to be compared.</p>;
  if (hunks.length === 0) return <p class="quiet">The same content, with another mode.</p>;
  return (
    <Scroll label="Side by side">
      <table class="sides">
        <colgroup>
          <col class="number" />
          <col />
          <col class="number" />
          <col />
        </colgroup>
        <thead>
          <tr>
            <th scope="col" colSpan={2}>
              v{from}
            </th>
            <th scope="col" colSpan={2}>
              v{to}
            </th>
          </tr>
        </thead>
        {hunks.map(({ title, rows }) => (
          <tbody key={title}>
            <tr class="hunk">
              <th scope="rowgroup" colSpan={4}>
                {title}
              </th>
            </tr>
            {rows.map((row, i) => (
              <Row key={i} row={row} />
            ))}
          </tbody>
        ))}
      </table>
    </Scroll>
  );
}

function Row({ row: { left, right, isSame } }: { row: DiffRow }) {
  const kind = (line: unknown, name: string) => (isSame ? 'same' : line === null ? 'none' : name);
  const [before, after] = [kind(left, 'removed'), kind(right, 'added')];
  return (
    <tr>
      <td class={`number left ${before}`}>{left?.number}</td>
      <td class={`left ${before}`}>
        {before === 'removed' && <Mark sign="−" name="removed" />}
        {left?.text}
      </td>
      <td class={`number right ${after}`}>{right?.number}</td>
      <td class={`right ${after}`}>
        {after === 'added' && <Mark sign="+" name="added" />}
        {right?.text}
      </td>
    </tr>
  );
}

function Mark({ sign, name }: { sign: string; name: string }) {
  return (
    <>
      <span class="sign" aria-hidden="true">
        {sign}
      </span>
      <span class="unseen">{name}: </span>
    </>
  );
}
