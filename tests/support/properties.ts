import fc from 'fast-check';

/**
 * fast-check, with the same examples in each run: what lands must not hang on chance.
 * `FUZZ_SEED=$RANDOM` tries others, and a failure tells the seed that repeats it.
 */
fc.configureGlobal({ seed: Number(process.env.FUZZ_SEED ?? 1) });

export { fc };
