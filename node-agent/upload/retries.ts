/** After which failure what happens, and how long is waited: every number of it. */

/** So many failures in a row, of whatever jobs, are an outage: everything waits. */
export const OUTAGE_AFTER = 3;
/**
 * What may pass, and is no outage (wrong bytes, a race, a mistake of ours), is tried so often; then
 * the upload is given up. In an outage a job is tried for ever.
 */
export const GIVE_UP_AFTER = 5;

/** The first wait of a job, in milliseconds. Each is up to twice the one before. */
export const FIRST_WAIT_MS = 1000;
/** The longest wait of a job, whoever asks for more. */
export const LONGEST_WAIT_MS = 5 * 60_000;
/** The longest between two looks whether the cloud is back: it is noticed within ten seconds. */
export const AWAY_WAIT_MS = 8000;
/** The same while it refuses the key or the plan: that takes a person. */
export const REFUSED_WAIT_MS = 60_000;
