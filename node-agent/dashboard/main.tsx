/** The page: who is signed in, where it is, and what is listened to. */
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { api, token } from './api.ts';
import { LiveContext, linkTo, SignInContext, useLive, useLoaded, useRoute } from './hooks.ts';
import { Live } from './live.ts';
import { SignIn } from './parts/sign-in.tsx';
import { ActivityView } from './views/activity.tsx';
import { CompareView } from './views/compare.tsx';
import { GenerationView } from './views/generation.tsx';
import { HostsView } from './views/hosts.tsx';
import { NowView } from './views/now.tsx';
import { ProjectView } from './views/project.tsx';
import { ProjectsView } from './views/projects.tsx';

function Page() {
  const [live, setLive] = useState(() => new Live());
  const [isAsked, setAsked] = useState(false);
  useEffect(() => {
    void live.run();
    return () => live.stop();
  }, [live]);
  if (isAsked) {
    return (
      <SignIn
        hasFailed={token.get() !== null}
        onToken={(text) => {
          token.set(text);
          setLive(new Live());
          setAsked(false);
        }}
      />
    );
  }
  return (
    <SignInContext.Provider value={() => setAsked(true)}>
      <LiveContext.Provider value={live}>
        <Frame />
      </LiveContext.Provider>
    </SignInContext.Provider>
  );
}

const PLACES = [
  ['', 'Now'],
  ['activity', 'Activity'],
  ['projects', 'Projects'],
] as const;
const HOSTS = ['hosts', 'Hosts'] as const;
const STATES = { connecting: 'connecting', live: 'live', away: 'not connected' } as const;

function Frame() {
  const route = useRoute();
  const { state } = useLive();
  const [place = ''] = route;
  const { value } = useLoaded(api.status, []);
  // Who gives keys has the secret one.
  const places = value?.cloud.key === 'secret' ? [...PLACES, HOSTS] : PLACES;
  return (
    <>
      {/* biome-ignore lint/a11y/useValidAnchor: a link to a part of the page, as one expects there */}
      <a class="skip" href="#main" onClick={toMain}>
        To the content
      </a>
      <header class="bar">
        <a class="brand" href={linkTo()}>
          <Mark />
          codebegen-storage
        </a>
        <nav aria-label="Main">
          {places.map(([name, label]) => (
            <a key={name} href={linkTo(name)} aria-current={place === name ? 'page' : undefined}>
              {label}
            </a>
          ))}
        </nav>
        <p class={`link-state ${state}`} role="status">
          {STATES[state]}
        </p>
      </header>
      <main id="main" tabIndex={-1}>
        <Place route={route} />
      </main>
    </>
  );
}

function Place({ route }: { route: string[] }) {
  const [place, project, version, from, ...path] = route;
  if (place === 'activity') return <ActivityView />;
  if (place === 'hosts') return <HostsView />;
  if (place !== 'projects') return <NowView />;
  if (!project) return <ProjectsView />;
  if (!version) return <ProjectView key={project} project={project} />;
  if (version === 'compare') {
    return (
      <CompareView
        project={project}
        from={Number(from)}
        to={Number(path[0])}
        path={path[1] ?? null}
      />
    );
  }
  return <GenerationView project={project} version={Number(version)} path={from ?? null} />;
}

/** The address is the page's place: a link to a part of it would change that. */
function toMain(event: Event): void {
  event.preventDefault();
  document.getElementById('main')?.focus();
}

function Mark() {
  return (
    <svg viewBox="0 0 16 16" width="20" height="20" aria-hidden="true" class="mark">
      <path d="M8 1.5 14 5 8 8.5 2 5Z" />
      <path d="m2 8.5 6 3.5 6-3.5" />
    </svg>
  );
}

render(<Page />, document.getElementById('app')!);
