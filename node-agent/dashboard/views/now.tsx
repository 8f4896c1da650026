/** How things are: what is owed and since when, the cloud, the disk, what is parked, what just happened. */

import { useEffect } from 'preact/hooks';
import { api, type Status } from '../api.ts';
import { ago, bytes, clock, count, counted } from '../format.ts';
import { linkTo, useLive, useLoaded } from '../hooks.ts';
import type { Happened } from '../live.ts';
import { Action } from '../parts/action.tsx';
import { Shown } from '../parts/state.tsx';
import { Table } from '../parts/table.tsx';

const TITLE = 'codebegen-storage';

export function NowView() {
  const status = useLoaded(api.status, [], { live: true });
  return (
    <>
      <Unconnected />
      <Shown loaded={status}>{(value) => <How status={value} again={status.again} />}</Shown>
      <Feed />
    </>
  );
}

function totalOf(generations: Status['generations']): number {
  return Object.values(generations).reduce<number>((sum, number) => sum + (number ?? 0), 0);
}

/** What is shown then is of before. */
function Unconnected() {
  const { state, since } = useLive();
  if (state !== 'away') return null;
  return (
    <section class="health bad" aria-live="assertive">
      <h2>Not connected to the daemon</h2>
      <p>Since {new Date(since).toLocaleTimeString()}. What is shown below is of then.</p>
    </section>
  );
}

type Health = Readonly<{ level: 'good' | 'warn' | 'bad'; title: string; text: string }>;

/** The one sentence that matters most. */
function healthOf({ disk, cloud, outbox, generations, scan }: Status): Health {
  const all = totalOf(generations);
  const isFull = disk !== null && disk.free_bytes < disk.bytes / 20;
  if (isFull) {
    const text = `${bytes(disk.free_bytes)} are left. Saves fail once it is full.`;
    return { level: 'bad', title: 'The disk is nearly full', text };
  }
  if (cloud.away !== null) {
    const since = ago(cloud.away.since);
    const title = cloud.away.cause === 'away' ? 'The cloud is away' : 'The cloud refuses us';
    const text = `Since ${since}: ${cloud.away.reason}. Saves go on; ${counted(outbox.owed, 'step')} wait.`;
    return { level: 'bad', title, text };
  }
  if (outbox.parked > 0) {
    const text = 'They are not tried any more. Read below why, then try them again.';
    return { level: 'warn', title: `${counted(outbox.parked, 'upload')} parked`, text };
  }
  if (scan !== null) {
    const text = 'Saves and gets are right meanwhile; what is counted here is what is read so far.';
    return { level: 'warn', title: 'The disk is being read', text };
  }
  if (outbox.owed > 0 && cloud.enabled) {
    const since = outbox.since === null ? '' : `, the oldest ${ago(outbox.since)}`;
    const text = `${counted(outbox.owed, 'step')} on the way to the cloud${since}.`;
    return { level: 'good', title: 'All is safe here, and on its way', text };
  }
  if (all === 0) return { level: 'good', title: 'Ready', text: 'Nothing was saved yet.' };
  const text = cloud.enabled
    ? `${counted(all, 'generation')}, nothing is owed to the cloud.`
    : `${counted(all, 'generation')} on this host. The cloud is off.`;
  return { level: 'good', title: 'All is safe', text };
}

function How({ status, again }: { status: Status; again: () => void }) {
  const { disk, cloud, outbox, cache, generations, parked, webhooks } = status;
  const health = healthOf(status);
  useEffect(() => {
    document.title = health.level === 'good' ? TITLE : `⚠ ${health.title} · ${TITLE}`;
    return () => {
      document.title = TITLE;
    };
  }, [health.level, health.title]);
  const retry = async () => {
    await api.retry();
    again();
  };
  return (
    <>
      <section class={`health ${health.level}`} aria-live="polite">
        <h1>{health.title}</h1>
        <p>{health.text}</p>
        {parked.length > 0 && <Action label="Try all again" kind="primary" run={retry} />}
      </section>
      <div class="cards">
        <section class="card">
          <h2>Generations</h2>
          <p class="figure">{count(totalOf(generations))}</p>
          <dl>
            {Object.entries(generations).map(([name, n]) => (
              <Row
                key={name}
                term={name}
                text={count(n ?? 0)}
                isBad={name === 'failed' && n !== 0}
              />
            ))}
            {status.only_in_cloud > 0 && (
              <Row term="in the cloud alone" text={count(status.only_in_cloud)} />
            )}
          </dl>
        </section>
        <section class="card">
          <h2>Owed to the cloud</h2>
          <p class="figure">{count(outbox.owed)}</p>
          <dl>
            <Row term="since" text={outbox.since === null ? '–' : ago(outbox.since)} />
            <Row term="parked" text={count(outbox.parked)} isBad={outbox.parked > 0} />
            <Row
              term="webhooks"
              text={`${count(webhooks.owed)} owed, ${count(webhooks.parked)} parked`}
            />
          </dl>
        </section>
        <section class="card">
          <h2>Disk</h2>
          <p class="figure">
            {disk === null ? '–' : bytes(disk.free_bytes)} <small>free</small>
          </p>
          {disk !== null && (
            <meter
              min={0}
              max={disk.bytes}
              low={disk.bytes * 0.8}
              high={disk.bytes * 0.95}
              optimum={0}
              value={disk.bytes - disk.free_bytes}
              aria-label="used"
            />
          )}
          <dl>
            <Row
              term="used"
              text={
                disk === null
                  ? '–'
                  : `${bytes(disk.bytes - disk.free_bytes)} of ${bytes(disk.bytes)}`
              }
            />
            <Row
              term="inodes free"
              text={disk?.free_inodes == null ? 'no limit' : count(disk.free_inodes)}
            />
            <Row term="cache" text={`${bytes(cache.bytes)} of ${bytes(cache.max_bytes)}`} />
          </dl>
        </section>
        <section class="card">
          <h2>Cloud</h2>
          <p class="figure">
            {cloud.enabled ? (cloud.away === null ? 'reachable' : 'away') : 'off'}
          </p>
          <dl>
            <Row term="URL" text={cloud.url ?? '–'} />
            <Row term="bucket" text={cloud.bucket ?? '–'} />
            <Row term="store" text={status.store_path} />
          </dl>
        </section>
      </div>
      {parked.length > 0 && (
        <section>
          <h2>Parked</h2>
          <Table label="Parked" columns={['Generation', 'Why', 'Owed']}>
            {parked.map((job) => (
              <tr key={`${job.project_id} ${job.version} ${job.step}`}>
                <th scope="row">
                  <a href={linkTo('projects', job.project_id, job.version)}>
                    {job.project_id} v{job.version}
                  </a>
                </th>
                <td class="wide">{job.failure}</td>
                <td>{ago(job.since)}</td>
              </tr>
            ))}
          </Table>
        </section>
      )}
    </>
  );
}

function Row({ term, text, isBad }: { term: string; text: string; isBad?: boolean }) {
  return (
    <div>
      <dt>{term}</dt>
      <dd class={isBad ? 'trouble' : undefined}>{text}</dd>
    </div>
  );
}

/** What just happened, the newest first. */
function Feed() {
  const { happened } = useLive();
  return (
    <section>
      <h2>As it happens</h2>
      {happened.length === 0 ? (
        <p class="quiet">Nothing happened since this page was opened.</p>
      ) : (
        <ol class="feed">
          {happened.slice(0, 30).map((event) => (
            <li key={event.id}>
              <time dateTime={event.at}>{clock(event.at)}</time>
              <span class={`badge ${event.kind.split('.')[1]}`}>{kindOf(event)}</span>
              <What event={event} />
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

/** Most are of generations. */
const kindOf = ({ kind }: Happened) => kind.replace('generation.', '').replace('.', ' ');

function What({ event }: { event: Happened }) {
  const { project_id: project, version, files, bytes: size, reason } = event;
  const more = [
    files === undefined ? null : counted(files, 'file'),
    size == null ? null : bytes(size),
    reason ?? null,
  ];
  return (
    <span>
      {project !== undefined && version !== undefined && (
        <a href={linkTo('projects', project, version)}>
          {project} v{version}
        </a>
      )}{' '}
      {more.filter((text) => text !== null).join(', ')}
    </span>
  );
}
