/** Who has a key of its own: where this daemon has the secret key, keys are given, and taken away. */

import { useState } from 'preact/hooks';
import { type Added, api, type Host } from '../api.ts';
import { ago, count, moment } from '../format.ts';
import { useLoaded } from '../hooks.ts';
import { Action } from '../parts/action.tsx';
import { Shown } from '../parts/state.tsx';
import { ACTIONS, amount, Table } from '../parts/table.tsx';

export function HostsView() {
  const hosts = useLoaded(api.hosts, []);
  const [given, setGiven] = useState<Added | null>(null);
  const take = (added: Added) => {
    setGiven(added);
    hosts.again();
  };
  return (
    <>
      <div class="head">
        <h1>Hosts</h1>
      </div>
      {given !== null && <GivenKey given={given} onDone={() => setGiven(null)} />}
      <Shown loaded={hosts}>
        {({ items }) => (
          <>
            {items.length > 0 ? (
              <HostTable items={items} onGiven={take} again={hosts.again} />
            ) : (
              <p class="quiet">No host has a key of its own yet.</p>
            )}
            <AddHost onAdded={take} />
          </>
        )}
      </Shown>
    </>
  );
}

/** It is kept nowhere: whoever leaves the page has to make another. */
function GivenKey({ given, onDone }: { given: Added; onDone: () => void }) {
  return (
    <section class="health warn" aria-live="polite">
      <h2>The key of {given.name}</h2>
      <p>
        <code>{given.key}</code>
      </p>
      <p>
        It is not shown again. Put it into a file on that host, and name the file in{' '}
        <code>HOST_KEY_FILE</code>.
      </p>
      <span class="actions">
        {/* A page that came by plain HTTP from another host has no clipboard. */}
        {isSecureContext && (
          <Action label="Copy" run={() => navigator.clipboard.writeText(given.key)} />
        )}
        <Action label="Done" run={async () => onDone()} />
      </span>
    </section>
  );
}

const COLUMNS = ['Host', 'Reads', 'Deletes', amount('Assigned'), 'Seen', 'Key', ACTIONS];

function HostTable({
  items,
  onGiven,
  again,
}: {
  items: readonly Host[];
  onGiven: (added: Added) => void;
  again: () => void;
}) {
  return (
    <Table label="Hosts" columns={COLUMNS}>
      {items.map((host) => (
        <tr key={host.name}>
          <th scope="row">{host.name}</th>
          <td>{host.read}</td>
          <td>{host.delete}</td>
          <td class="amount">{count(host.projects)}</td>
          <td>{host.last_seen_at === null ? '–' : ago(host.last_seen_at)}</td>
          <td>{keyOf(host)}</td>
          <td>
            {host.revoked_at === null && <Actions host={host} onGiven={onGiven} again={again} />}
          </td>
        </tr>
      ))}
    </Table>
  );
}

function keyOf({ revoked_at, keys: [newest, ...earlier] }: Host): string {
  if (revoked_at !== null) return `revoked ${moment(revoked_at)}`;
  if (newest === undefined) return '–';
  const ends = newest.expires_at === null ? 'does not end' : `ends ${moment(newest.expires_at)}`;
  return [
    ends,
    ...earlier.map(({ expires_at: at }) => `an earlier one ends ${at && moment(at)}`),
  ].join(', ');
}

function Actions({
  host: { name },
  onGiven,
  again,
}: {
  host: Host;
  onGiven: (added: Added) => void;
  again: () => void;
}) {
  const rotate = async () => {
    const asked = `Days until the new key of ${name} ends; empty: it does not. The earlier one goes on for a day`;
    const days = prompt(asked);
    if (days !== null) onGiven(await api.rotateHostKey(name, secondsOf(days)));
  };
  const assign = async () => {
    const text = prompt(`Ids of projects that ${name} may write to, with commas between`);
    const projects = listOf(text ?? '');
    if (projects.length === 0) return;
    await api.assignProjects(name, projects);
    again();
  };
  const revoke = async () => {
    await api.revokeHost(name);
    again();
  };
  return (
    <span class="actions">
      <Action label="New key" run={rotate} />
      <Action label="Assign projects" run={assign} />
      <Action
        label="Revoke"
        kind="danger"
        question={`Revoke ${name}? Its keys open nothing from then on, for good. What it saved stays.`}
        run={revoke}
      />
    </span>
  );
}

const DAY_SECONDS = 86_400;

/** @returns `null` for no end. @throws Error where that is no number: a key would never end then */
function secondsOf(days: string): number | null {
  if (days.trim() === '') return null;
  if (Number(days) > 0) return Math.round(Number(days) * DAY_SECONDS);
  throw new Error(`"${days}" is no number of days`);
}

function AddHost({ onAdded }: { onAdded: (added: Added) => void }) {
  const [name, setName] = useState('');
  const [projects, setProjects] = useState('');
  const [days, setDays] = useState('');
  const [readsAll, setReadsAll] = useState(false);
  const [deletes, setDeletes] = useState(false);
  const add = async () => {
    const added = await api.addHost({
      name: name.trim(),
      read: readsAll ? 'all' : 'own',
      delete: deletes ? 'own' : 'none',
      projects: listOf(projects),
      expires_in: secondsOf(days),
    });
    setName('');
    setProjects('');
    onAdded(added);
  };
  return (
    <section class="card" aria-labelledby="add">
      <h2 id="add">Add a host</h2>
      <p class="fields">
        <Field id="name" label="Name" value={name} onValue={setName} />
        <Field
          id="projects"
          label="Projects beside its own"
          value={projects}
          onValue={setProjects}
        />
        <Field id="days" label="Days until its key ends" value={days} onValue={setDays} />
        <Check label="It may read all" isOn={readsAll} onTurn={setReadsAll} />
        <Check label="It may delete its own" isOn={deletes} onTurn={setDeletes} />
      </p>
      <Action label="Add" kind="primary" run={add} />
    </section>
  );
}

function Field({
  id,
  label,
  value,
  onValue,
}: {
  id: string;
  label: string;
  value: string;
  onValue: (text: string) => void;
}) {
  return (
    <span>
      <label for={id}>{label}</label>
      <input
        id={id}
        value={value}
        autoComplete="off"
        onInput={(event) => onValue(event.currentTarget.value)}
      />
    </span>
  );
}

function Check({
  label,
  isOn,
  onTurn,
}: {
  label: string;
  isOn: boolean;
  onTurn: (isOn: boolean) => void;
}) {
  return (
    <label>
      <input
        type="checkbox"
        checked={isOn}
        onChange={(event) => onTurn(event.currentTarget.checked)}
      />{' '}
      {label}
    </label>
  );
}

const listOf = (text: string) =>
  text
    .split(',')
    .map((id) => id.trim())
    .filter((id) => id !== '');
