/**
 * What happens to a job after which failure, and every number of it. It is tried again, each time after
 * up to twice the wait, unless it is refused for good: then it is given up at once.
 *
 * - Its third failure is nothing special to it. The third failure in a row to reach Storage, or the
 *   database, of whatever jobs, is: what needs that one waits. A refused key or plan is, at the first.
 * - Its fifth in a row at one step, or its fifth way back to an earlier one, is, where that is no outage
 *   but wrong bytes, a conflict that may pass, or a mistake of ours: it is given up, whatever the
 *   others were. Whatever else may pass, a full disk too, is tried for ever.
 * - Once an outage is noticed, and once it is over, the failures that it made count no more.
 *
 * `settle.ts` decides it, `breaker.ts` has all wait, `backoff.ts` has the formula of the waits.
 */

/** So many failures in a row to reach a part of the cloud are an outage. */
export const OUTAGE_AFTER = 3;
/** At this failure it is given up. */
export const GIVE_UP_AFTER = 5;

/** The first wait of a job, in milliseconds. Each is up to twice the one before. */
export const FIRST_WAIT_MS = 1000;
/** The longest wait of a job, whoever asks for more. */
export const LONGEST_WAIT_MS = 5 * 60_000;
/**
 * The longest between two looks whether the cloud is back, which is noticed within ten seconds then. A
 * cloud that asks to be left alone for longer is.
 */
export const AWAY_WAIT_MS = 8000;
/** The same while it refuses the key or the plan: that takes a person. */
export const REFUSED_WAIT_MS = 60_000;
