import { linkTo } from '../hooks.ts';

/** Where one is, and the way back. */
export function Crumbs({ project }: { project?: string }) {
  return (
    <nav class="crumbs" aria-label="Place">
      <a href={linkTo('projects')}>Projects</a>
      {project !== undefined && (
        <>
          {' / '}
          <a href={linkTo('projects', project)}>{project}</a>
        </>
      )}
    </nav>
  );
}
