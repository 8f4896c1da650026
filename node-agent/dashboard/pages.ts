import { useCallback, useContext, useEffect, useRef, useState } from 'preact/hooks';
import { type Page, wantsToken, whyOf } from './api.ts';
import { SignInContext } from './hooks.ts';

/** A list that comes in pages: those that were asked for so far. */
export type Pages<T> = Readonly<{
  pages: readonly (readonly T[])[];
  hasMore: boolean;
  isBusy: boolean;
  error: string | null;
  more: () => void;
  /** From its begin. */
  again: () => void;
}>;

/** @param load the page after a cursor; the same function as long as it is the same list */
export function usePages<T, Cursor>(
  load: (cursor: Cursor | null) => Promise<Page<T, Cursor>>,
): Pages<T> {
  const [pages, setPages] = useState<readonly (readonly T[])[]>([]);
  const [hasMore, setHasMore] = useState(true);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const cursor = useRef<Cursor | null>(null);
  const run = useRef(0);
  const signIn = useContext(SignInContext);
  const fetchNext = useCallback(
    async (isFirst: boolean) => {
      const own = ++run.current;
      setBusy(true);
      try {
        const page = await load(isFirst ? null : cursor.current);
        if (own !== run.current) return;
        cursor.current = page.next_cursor;
        setPages((before) => (isFirst ? [page.items] : [...before, page.items]));
        setHasMore(page.next_cursor !== null);
        setError(null);
      } catch (problem) {
        if (own !== run.current) return;
        if (wantsToken(problem)) signIn();
        setError(whyOf(problem));
        setHasMore(false);
      } finally {
        if (own === run.current) setBusy(false);
      }
    },
    [load, signIn],
  );
  useEffect(() => void fetchNext(true), [fetchNext]);
  const more = useCallback(() => void fetchNext(false), [fetchNext]);
  const again = useCallback(() => void fetchNext(true), [fetchNext]);
  return { pages, hasMore, isBusy, error, more, again };
}
