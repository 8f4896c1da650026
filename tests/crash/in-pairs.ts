/** Two at once: while one process starts, what another left is looked at. */
export async function inPairs(count: number, work: (n: number) => Promise<void>): Promise<void> {
  let next = 1;
  const worker = async () => {
    while (next <= count) await work(next++);
  };
  await Promise.all([worker(), worker()]);
}
