/**
 * An error for the person who called: its message is one line that says what was wrong, in which file or argument,
 * and what to do. The command prints the message alone and exits with 1. Anything else that is thrown is a bug.
 */
export class Florence2Error extends Error {
  override name = 'Florence2Error';
}

/** The call itself is wrong (unknown task, bad option): the command exits with 2. */
export class UsageError extends Florence2Error {
  override name = 'UsageError';
}
