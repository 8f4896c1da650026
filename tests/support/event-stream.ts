import { onTestFinished } from 'vitest';

/** What a stream of server-sent events has told, event by event. */
export type Told = Readonly<{ id: string; kind: string; data: Record<string, unknown> }>;

/**
 * Listens to the events of a daemon, as a page does: by fetch, so that a token goes along. It ends with the test.
 *
 * @returns what comes, one after another; the first is that it listens
 */
export async function listen(
  url: string,
  headers: Record<string, string> = {},
): Promise<AsyncGenerator<Told, void> & { answer: Response }> {
  const gone = new AbortController();
  onTestFinished(() => gone.abort());
  const answer = await fetch(url, { headers, signal: gone.signal });
  return Object.assign(read(answer), { answer });
}

async function* read(answer: Response): AsyncGenerator<Told, void> {
  let text = '';
  for await (const piece of answer.body!.pipeThrough(new TextDecoderStream())) {
    text += piece;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const field = (name: string) =>
        lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const [id, kind, data] = [field('id'), field('event'), field('data')];
      if (id !== undefined && kind !== undefined) yield { id, kind, data: JSON.parse(data!) };
    }
  }
}

/** The next so many events. */
export async function take(told: AsyncGenerator<Told, void>, count: number): Promise<Told[]> {
  const taken: Told[] = [];
  while (taken.length < count) {
    const { done, value } = await told.next();
    if (done) break;
    taken.push(value);
  }
  return taken;
}
