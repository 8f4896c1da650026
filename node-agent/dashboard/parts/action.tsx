import { useState } from 'preact/hooks';

/**
 * A button that does something at the daemon, and says why where it could not.
 *
 * @property question asked first, where it cannot be taken back
 */
export function Action({
  label,
  run,
  kind = 'plain',
  question,
}: {
  label: string;
  run: () => Promise<unknown>;
  kind?: 'plain' | 'primary' | 'danger';
  question?: string;
}) {
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);
  const click = async () => {
    if (question !== undefined && !confirm(question)) return;
    setBusy(true);
    setFailure(null);
    try {
      await run();
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
      {failure !== null && (
        <span class="trouble" role="alert">
          {failure}
        </span>
      )}
    </span>
  );
}
