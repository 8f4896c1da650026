import { useState } from 'preact/hooks';

/** Asks for the token of the daemon. */
export function SignIn({
  hasFailed,
  onToken,
}: {
  hasFailed: boolean;
  onToken: (token: string) => void;
}) {
  const [text, setText] = useState('');
  return (
    <main class="sign-in">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (text.trim() !== '') onToken(text.trim());
        }}
      >
        <h1>codebegen-storage</h1>
        <p>
          This daemon has a token: its setting AGENT_TOKEN. It is kept for as long as this tab is
          open.
        </p>
        <label for="token">Token</label>
        <input
          id="token"
          type="password"
          autocomplete="current-password"
          required
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        {hasFailed && <p role="alert">The daemon did not take that token.</p>}
        <button type="submit" class="primary">
          Sign in
        </button>
      </form>
    </main>
  );
}
