/**
 * An error that the user can act on. Its message is one line: what is wrong, in which file or argument, and what to do.
 * The command line prints only the message and exits with code 1. Any other error is a bug.
 */
export class Florence2Error extends Error {
  override name = 'Florence2Error';
}

/** An invalid call, such as an unknown task or option. The command line exits with code 2. */
export class UsageError extends Florence2Error {
  override name = 'UsageError';
}
