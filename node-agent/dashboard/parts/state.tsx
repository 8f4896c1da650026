import type { ComponentChildren } from 'preact';
import type { Loaded } from '../hooks.ts';

/** How a generation is, in a word, with a colour that says the same. */
export function Badge({ status }: { status: string }) {
  return <span class={`badge ${status}`}>{status}</span>;
}

/** What was asked for, or that it is not there yet, or why not. */
export function Shown<T>({
  loaded,
  children,
}: {
  loaded: Loaded<T>;
  children: (value: T) => ComponentChildren;
}) {
  return (
    <>
      {loaded.error !== null && (
        <p class="trouble" role="alert">
          {loaded.error}{' '}
          <button type="button" onClick={loaded.again}>
            Try again
          </button>
        </p>
      )}
      {loaded.value !== null
        ? children(loaded.value)
        : loaded.error === null && <p class="quiet loading">Loading …</p>}
    </>
  );
}
