/** The links that users made to a generation: how often each was followed, and a way to end it. */
import { api, type Link } from '../api.ts';
import { ago, count, counted, moment } from '../format.ts';
import { useLoaded } from '../hooks.ts';
import { Action } from '../parts/action.tsx';
import { Shown } from '../parts/state.tsx';
import { ACTIONS, amount, Table } from '../parts/table.tsx';

export function Links({ project, version }: { project: string; version: number }) {
  const links = useLoaded(() => api.links(project, version), [project, version]);
  return (
    <section>
      <Shown loaded={links}>
        {({ items }) =>
          items.length > 0 && (
            <details open>
              <summary>{counted(items.length, 'link')} to it can be followed</summary>
              <LinkTable
                items={items}
                end={async (name) => {
                  await api.endLink(project, version, name);
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

const COLUMNS = ['Link', 'Format', 'Made', 'Ends', amount('Downloads'), 'Last one', ACTIONS];

function LinkTable({
  items,
  end,
}: {
  items: readonly Link[];
  end: (name: string) => Promise<void>;
}) {
  return (
    <Table label="Links" columns={COLUMNS}>
      {items.map((link) => (
        <tr key={link.name}>
          <th scope="row" class="id">
            {link.name}…
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
              run={() => end(link.name)}
              question={`End the link ${link.name}…? Whoever has it can follow it no more.`}
            />
          </td>
        </tr>
      ))}
    </Table>
  );
}
