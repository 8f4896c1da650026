import { useState } from 'preact/hooks';

/**
 * A button that does something at the daemon, and says why where it could not.
 *
 * @property done said once it is done
 * @property question asked first, where it cannot be taken back
 */
export function Action({
  label,
  run,
  kind = 'plain',
  done,
  question,
}: {
  label: string;
  run: () => Promise<unknown>;
  kind?: 'plain' | 'primary' | 'danger';
  done?: string;
  question?: string;
}) {
  const [isBusy, setBusy] = useState(false);
  const [isDone, setDone] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);
  const click = async () => {
    if (question !== undefined && !confirm(question)) return;
    setBusy(true);
    setFailure(null);
    setDone(false);
    try {
      await run();
      setDone(true);
    } catch (error) {
      setFailure(error instanceof Error ? error.message : String(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <span class="action">
      <button type="button" class={kind} disabled={isBusy} onClick={click}>
        {label}
      </button>
      {isDone && done !== undefined && (
        <span class="quiet" role="status">
          {done}
        </span>
      )}
      {failure !== null && (
        <span class="trouble" role="alert">
          {failure}
        </span>
      )}
    </span>
  );
}
