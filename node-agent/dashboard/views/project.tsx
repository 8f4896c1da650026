/** The versions of a project on a time line, the newest first. */
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { api, type Generation } from '../api.ts';
import { bytes, clock, counted, dayOf } from '../format.ts';
import { linkTo, useLive } from '../hooks.ts';
import type { Happened } from '../live.ts';
import { usePages } from '../pages.ts';
import { Action } from '../parts/action.tsx';
import { Crumbs } from '../parts/crumbs.tsx';
import { More } from '../parts/more.tsx';
import { Badge } from '../parts/state.tsx';

/** So long after something happened the list is looked at again: much may happen at once. */
const SETTLE_MS = 1000;

export function ProjectView({ project }: { project: string }) {
  const load = useCallback((cursor: number | null) => api.generations(project, cursor), [project]);
  const { pages, hasMore, isBusy, error, more, again } = usePages(load);
  const [chosen, setChosen] = useState<readonly number[]>([]);
  const { happened } = useLive();
  const newest = happened.find(({ project_id }) => project_id === project)?.id;
  // Whoever reads further down is not brought back to the begin.
  const timer = useRef<number | undefined>(undefined);
  useEffect(() => {
    if (newest === undefined) return;
    timer.current ??= window.setTimeout(() => {
      timer.current = undefined;
      if (scrollY < innerHeight) again();
    }, SETTLE_MS);
  }, [newest, again]);
  useEffect(() => () => clearTimeout(timer.current), []);

  const choose = useCallback(
    (version: number) =>
      setChosen((before) =>
        before.includes(version)
          ? before.filter((one) => one !== version)
          : [...before, version].slice(-2),
      ),
    [],
  );
  const [from, to] = chosen.toSorted((a, b) => a - b);
  return (
    <>
      <div class="head">
        <div class="title">
          <Crumbs />
          <h1>{project}</h1>
        </div>
        <Jump project={project} />
      </div>
      {error !== null && (
        <p class="trouble" role="alert">
          {error}
        </p>
      )}
      <p class="compare-bar" role="status">
        {to === undefined ? (
          'Choose two versions to compare them.'
        ) : (
          <a class="button primary" href={linkTo('projects', project, 'compare', from!, to)}>
            Compare v{from} with v{to}
          </a>
        )}
      </p>
      <Deleted project={project} happened={happened} again={again} />
      <ol class="timeline">
        {pages.map((items, i) => (
          <Versions
            key={items[0]?.version}
            items={items}
            dayBefore={dayOfLast(pages[i - 1])}
            chosen={chosen.filter((one) => items.some(({ version }) => version === one)).join()}
            onChoose={choose}
          />
        ))}
      </ol>
      {hasMore && <More onMore={more} isBusy={isBusy} />}
    </>
  );
}

/** What was deleted lately can be had back. */
function Deleted({
  project,
  happened,
  again,
}: {
  project: string;
  happened: readonly Happened[];
  again: () => void;
}) {
  const versions = deletedLately(happened, project);
  if (versions.length === 0) return null;
  return (
    <ul class="deleted" aria-label="Deleted lately">
      {versions.map((version) => (
        <li key={version}>
          v{version} was deleted.{' '}
          <Action
            label={`Undelete v${version}`}
            run={async () => {
              await api.undelete(project, version);
              again();
            }}
          />
        </li>
      ))}
    </ul>
  );
}

/** @param happened the newest first: what happened last to a version counts */
function deletedLately(happened: readonly Happened[], project: string): number[] {
  const last = new Map<number, string>();
  for (const { kind, project_id, version } of happened) {
    const isOfIt = project_id === project && version !== undefined;
    const isOne = kind === 'generation.deleted' || kind === 'generation.undeleted';
    if (isOfIt && isOne && !last.has(version)) last.set(version, kind);
  }
  return [...last].flatMap(([version, kind]) => (kind === 'generation.deleted' ? [version] : []));
}

function dayOfLast(items: readonly Generation[] | undefined): string | null {
  const last = items?.at(-1);
  return last === undefined ? null : dayOf(last.created_at);
}

/** A page of them: of thousands those are looked at again that changed. */
function Versions({
  items,
  dayBefore,
  chosen,
  onChoose,
}: {
  items: readonly Generation[];
  dayBefore: string | null;
  /** Those of this page, with commas between. */
  chosen: string;
  onChoose: (version: number) => void;
}) {
  return useMemo(() => {
    const marked = new Set(chosen.split(',').map(Number));
    const days = items.map((item) => dayOf(item.created_at));
    return (
      <>
        {items.map((item, i) => (
          <Version
            key={item.version}
            item={item}
            isFirstOfDay={days[i] !== (days[i - 1] ?? dayBefore)}
            isChosen={marked.has(item.version)}
            onChoose={onChoose}
          />
        ))}
      </>
    );
  }, [items, dayBefore, chosen, onChoose]);
}

function Version({
  item,
  isFirstOfDay,
  isChosen,
  onChoose,
}: {
  item: Generation;
  isFirstOfDay: boolean;
  isChosen: boolean;
  onChoose: (version: number) => void;
}) {
  const { project_id: project, version } = item;
  return (
    <li class={item.active ? 'active' : undefined}>
      {isFirstOfDay && <h2>{dayOf(item.created_at)}</h2>}
      <div class="version">
        <label class="choose">
          <input
            type="checkbox"
            aria-label={`Compare v${version}`}
            checked={isChosen}
            onChange={() => onChoose(version)}
          />
        </label>
        <a href={linkTo('projects', project, version)}>v{version}</a>
        <time dateTime={item.created_at}>{clock(item.created_at)}</time>
        <span>
          <Badge status={item.status} />
          {item.active && <span class="badge good">active</span>}
        </span>
        <span class="quiet size">
          {item.file_count === null
            ? ''
            : `${counted(item.file_count, 'file')}, ${bytes(item.bytes)}`}
        </span>
        {item.failure !== null && <span class="trouble">{item.failure}</span>}
      </div>
    </li>
  );
}

/** To a version whose number one knows. */
function Jump({ project }: { project: string }) {
  const [text, setText] = useState('');
  return (
    <form
      class="jump"
      onSubmit={(event) => {
        event.preventDefault();
        if (/^[1-9]\d*$/.test(text)) location.hash = linkTo('projects', project, text);
      }}
    >
      <label for="jump">Version</label>
      <input
        id="jump"
        inputMode="numeric"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <button type="submit">Go</button>
    </form>
  );
}
