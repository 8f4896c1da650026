/**
 * Runs several that each ask something on their way, and sends what they ask as one request, once
 * each of them has asked, which it may do once, or ended.
 *
 * @param members what each does; `ask` gives the answer to its own question
 * @param send asks for all; gives an answer for each, in their order, and does not throw
 * @returns what became of each, in their order
 */
export function together<Member, Question, Answer, Result>(
  members: readonly Member[],
  send: (questions: Question[]) => Promise<PromiseSettledResult<Answer>[]>,
  run: (member: Member, ask: (question: Question) => Promise<Answer>) => Promise<Result>,
): Promise<PromiseSettledResult<Result>[]> {
  const asked: { question: Question; answer: PromiseWithResolvers<Answer> }[] = [];
  const underWay = new Set(members);

  async function arrive(member: Member): Promise<void> {
    if (!underWay.delete(member) || underWay.size > 0 || asked.length === 0) return;
    const results = await send(asked.map(({ question }) => question));
    for (const [i, result] of results.entries()) {
      const { answer } = asked[i]!;
      if (result.status === 'fulfilled') answer.resolve(result.value);
      else answer.reject(result.reason);
    }
  }

  return Promise.allSettled(
    members.map(async (member) => {
      try {
        return await run(member, async (question) => {
          if (!underWay.has(member)) throw new Error('It has asked before');
          const answer = Promise.withResolvers<Answer>();
          asked.push({ question, answer });
          void arrive(member);
          return answer.promise;
        });
      } finally {
        void arrive(member);
      }
    }),
  );
}
