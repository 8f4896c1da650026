/** What there is: the projects of this host. */

import { useState } from 'preact/hooks';
import { api } from '../api.ts';
import { bytes, count } from '../format.ts';
import { linkTo } from '../hooks.ts';
import { usePages } from '../pages.ts';
import { More } from '../parts/more.tsx';
import { amount, Table } from '../parts/table.tsx';

export function ProjectsView() {
  const { pages, hasMore, isBusy, error, more } = usePages(api.projects);
  const items = pages.flat();
  const hasOwners = items.some((project) => project.owner_id !== null);
  const [id, setId] = useState('');
  return (
    <>
      <div class="head">
        <h1>Projects</h1>
        <form
          class="jump"
          onSubmit={(event) => {
            event.preventDefault();
            if (id.trim() !== '') location.hash = linkTo('projects', id.trim());
          }}
        >
          <label for="id">Project id</label>
          <input id="id" value={id} onInput={(event) => setId(event.currentTarget.value)} />
          <button type="submit">Open</button>
        </form>
      </div>
      {error !== null && (
        <p class="trouble" role="alert">
          {error}
        </p>
      )}
      {items.length > 0 ? (
        <Table
          label="Projects"
          columns={[
            'Project',
            'Latest',
            amount('Versions'),
            amount('Size'),
            ...(hasOwners ? ['Owner'] : []),
          ]}
        >
          {items.map((project) => (
            <tr key={project.project_id}>
              <th scope="row">
                <a href={linkTo('projects', project.project_id)}>{project.project_id}</a>
              </th>
              <td>v{project.latest_version}</td>
              <td class="amount">{count(project.versions)}</td>
              <td class="amount">{bytes(project.bytes)}</td>
              {hasOwners && <td class="id">{project.owner_id ?? '–'}</td>}
            </tr>
          ))}
        </Table>
      ) : (
        !isBusy && <p class="quiet">There is no project yet. What a generator saves comes here.</p>
      )}
      {hasMore && <More onMore={more} isBusy={isBusy} />}
    </>
  );
}
