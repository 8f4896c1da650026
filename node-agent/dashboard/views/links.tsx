/** The links that users made to a generation: how often each was followed, and a way to end it. */
import { api, type Link } from '../api.ts';
import { ago, count, counted, moment } from '../format.ts';
import { useLoaded } from '../hooks.ts';
import { Action } from '../parts/action.tsx';
import { Scroll } from '../parts/scroll.tsx';
import { Shown } from '../parts/state.tsx';

export function Links({ project, version }: { project: string; version: number }) {
  const links = useLoaded(() => api.links(project, version), [project, version]);
  return (
    <section>
      <Shown loaded={links}>
        {({ items }) =>
          items.length > 0 && (
            <details open>
              <summary>{counted(items.length, 'link')} to it can be followed</summary>
              <Table
                items={items}
                end={async (id) => {
                  await api.endLink(project, version, id);
                  links.again();
                }}
              />
            </details>
          )
        }
      </Shown>
    </section>
  );
}

/** Of the id no more is shown than tells one from another: whoever knows it downloads. */
const nameOf = (id: string) => id.slice(0, 8);

function Table({ items, end }: { items: readonly Link[]; end: (id: string) => Promise<void> }) {
  return (
    <Scroll label="Links">
      <table>
        <thead>
          <tr>
            <th scope="col">Link</th>
            <th scope="col">Format</th>
            <th scope="col">Made</th>
            <th scope="col">Ends</th>
            <th scope="col" class="amount">
              Downloads
            </th>
            <th scope="col">Last one</th>
            <th scope="col">
              <span class="unseen">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {items.map((link) => (
            <tr key={link.id}>
              <th scope="row" class="id">
                {nameOf(link.id)}…
              </th>
              <td>{link.format}</td>
              <td>{moment(link.created_at)}</td>
              <td>{moment(link.expires_at)}</td>
              <td class="amount">{count(link.downloads)}</td>
              <td>{link.last_download_at === null ? '–' : ago(link.last_download_at)}</td>
              <td>
                <Action
                  label="End"
                  kind="danger"
                  run={() => end(link.id)}
                  question={`End the link ${nameOf(link.id)}…? Whoever has it can follow it no more.`}
                />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}
