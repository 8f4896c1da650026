import { useEffect, useRef } from 'preact/hooks';

/** Asks for the next page as it comes into sight, or by its button. */
export function More({ onMore, isBusy }: { onMore: () => void; isBusy: boolean }) {
  const place = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    const seen = new IntersectionObserver(([entry]) => {
      if (entry?.isIntersecting && !isBusy) onMore();
    });
    seen.observe(place.current!);
    return () => seen.disconnect();
  }, [onMore, isBusy]);
  return (
    <button ref={place} type="button" disabled={isBusy} onClick={onMore}>
      {isBusy ? 'Loading …' : 'Show more'}
    </button>
  );
}
