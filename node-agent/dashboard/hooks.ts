import { createContext } from 'preact';
import { useCallback, useContext, useEffect, useRef, useState } from 'preact/hooks';
import { wantsToken, whyOf } from './api.ts';
import { Live } from './live.ts';

/**
 * So long after something happened it is looked again: much may happen at once. And longer where a look takes
 * long, so that the daemon has most of its time for others.
 */
const SETTLE_MS = 400;
const SETTLE_FACTOR = 4;
/** How often it is looked again where nothing happens: ages and the disk change all the same. */
const QUIET_MS = 20_000;

export const LiveContext = createContext(new Live());

/** What happens, whenever it does. */
export function useLive(): Live {
  const live = useContext(LiveContext);
  const [, turn] = useState(0);
  useEffect(() => live.listen(() => turn((count) => count + 1)), [live]);
  return live;
}

/** Told where the daemon wants a token. */
export const SignInContext = createContext<() => void>(() => {});

/** What was asked for: not there yet, there, or why it is not. What was there before stays meanwhile. */
export type Loaded<T> = Readonly<{ value: T | null; error: string | null; again: () => void }>;

/**
 * Asks, and asks again where what it depends on is another, or something happened.
 *
 * @param live whether it is asked again when something happened
 */
export function useLoaded<T>(
  load: () => Promise<T>,
  depends: readonly unknown[],
  { live = false }: { live?: boolean } = {},
): Loaded<T> {
  const [value, setValue] = useState<T | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [turn, setTurn] = useState(0);
  const signIn = useContext(SignInContext);
  const source = useContext(LiveContext);
  const known = useRef<readonly unknown[]>([]);
  const tookMs = useRef(0);
  const isRunning = useRef(false);
  const isDue = useRef(false);
  /** Not while one is under way: that would be for nothing. */
  const look = useCallback(() => {
    if (isRunning.current) isDue.current = true;
    else setTurn((count) => count + 1);
  }, []);
  useEffect(() => {
    let isCurrent = true;
    const isOther = depends.some((one, i) => one !== known.current[i]);
    known.current = depends;
    if (isOther) setValue(null);
    const begun = performance.now();
    isRunning.current = true;
    isDue.current = false;
    const run = load().then(
      (loaded) => {
        if (!isCurrent) return;
        tookMs.current = performance.now() - begun;
        setValue(() => loaded);
        setError(null);
      },
      (problem: unknown) => {
        if (!isCurrent) return;
        if (wantsToken(problem)) signIn();
        setError(whyOf(problem));
      },
    );
    void run.then(() => {
      if (!isCurrent) return;
      isRunning.current = false;
      if (isDue.current) setTimeout(look, SETTLE_MS);
    });
    return () => {
      isCurrent = false;
    };
  }, [...depends, turn]);
  useEffect(() => {
    if (!live) return;
    let timer: number | undefined;
    let seen = source.count;
    let state = source.state;
    const end = source.listen(() => {
      if (source.count === seen && source.state === state) return;
      [seen, state] = [source.count, source.state];
      timer ??= window.setTimeout(
        () => {
          timer = undefined;
          look();
        },
        Math.max(SETTLE_MS, SETTLE_FACTOR * tookMs.current),
      );
    });
    const quiet = setInterval(() => {
      if (!document.hidden) look();
    }, QUIET_MS);
    return () => {
      end();
      clearTimeout(timer);
      clearInterval(quiet);
    };
  }, [live, source]);
  return { value, error, again: useCallback(() => setTurn((count) => count + 1), []) };
}

/** Where the page is: the part of its address behind `#`. */
export function useRoute(): string[] {
  const read = () => location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  const [route, setRoute] = useState(read);
  useEffect(() => {
    const change = () => setRoute(read());
    addEventListener('hashchange', change);
    return () => removeEventListener('hashchange', change);
  }, []);
  return route;
}

/** A link within the page. */
export function linkTo(...parts: (string | number)[]): string {
  return `#/${parts.map((part) => encodeURIComponent(part)).join('/')}`;
}
