/**
 * Runs in Deno: serves the functions as the platform's runtime does, `/generations/…` going to
 * `functions/generations/index.ts`. Ends when its parent does, however that ends: the parent
 * holds the other end of standard input.
 */
const names = Deno.args;
const handlers = new Map<string, Deno.ServeHandler>();
const serve = Deno.serve;

for (const name of names) {
  // What a function gives to Deno.serve is kept instead of served, as on the platform.
  Object.defineProperty(Deno, 'serve', {
    configurable: true,
    value: (...given: unknown[]) => {
      const handler = given.find((argument) => typeof argument === 'function');
      handlers.set(name, handler as Deno.ServeHandler);
    },
  });
  await import(new URL(`../../functions/${name}/index.ts`, import.meta.url).href);
}

const server = serve(
  {
    hostname: '127.0.0.1',
    port: 0,
    onListen: ({ port }) => console.log(JSON.stringify({ port })),
  },
  (request, info) => {
    const name = new URL(request.url).pathname.split('/')[1] ?? '';
    const handler = handlers.get(name);
    if (handler === undefined)
      return Response.json({ message: 'no such function' }, { status: 404 });
    return handler(request, info);
  },
);

for await (const _ of Deno.stdin.readable);
await server.shutdown();
