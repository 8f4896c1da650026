import type { ComponentChildren } from 'preact';

/** What scrolls by itself: by the keyboard, too, so it can be focused. */
export function Scroll({
  label,
  kind = 'scroll',
  children,
}: {
  label: string;
  kind?: string;
  children: ComponentChildren;
}) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: who has no mouse could not scroll it
    <section class={kind} tabIndex={0} aria-label={label}>
      {children}
    </section>
  );
}
