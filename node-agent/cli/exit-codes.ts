/** What a command ends with, beside the codes of failures. */
export const EXIT_USAGE = 2;
/** Some of it failed. */
export const EXIT_PARTLY = 3;
