/**
 * What `Florence2Error.code` can be. The codes are stable, unlike the messages: a program that treats some errors
 * differently compares them (docs/errors.md).
 */
export type ErrorCode = keyof typeof ERROR_CODES;

/** The codes of errors with their meanings. */
export const ERROR_CODES = {
  INVALID_ARGUMENT: 'an argument or option of a call or a flag of a command has a wrong value',
  UNKNOWN_OPTION: 'a call has no option of this name',
  UNKNOWN_TASK: 'a task name or task token is mistyped',
  UNKNOWN_HOOK_POINT: 'a name or pattern matches no hook point',
  DISPOSED: 'a model, an adapter, image features or a question was used after its disposal',
  FILE_NOT_FOUND: 'a file or folder does not exist',
  FILE_NOT_READABLE: 'a file, folder or URL cannot be read',
  FILE_NOT_WRITABLE: 'a file or folder cannot be written',
  INVALID_IMAGE: 'a file is not an image, is damaged, or has too many pixels',
  INVALID_DATA: 'a checkpoint, adapter, dataset or other file is incomplete, damaged or does not fit the model',
  NETWORK: 'a server cannot be reached or refused the request',
  BACKEND: 'a TensorFlow.js backend cannot run here or lacks an operation',
  SETUP: 'florence2 setup cannot install a backend',
} as const;

/** Options of `Florence2Error`. */
export interface ErrorDetails {
  /** Default `INVALID_DATA`; of a UsageError `INVALID_ARGUMENT`. */
  code?: ErrorCode;
  /** The error that led to this one. */
  cause?: unknown;
}

/**
 * An error that the user can act on. Its message is one line: what is wrong, in which file or argument, and what to do.
 * The command line prints only the message and exits with code 1. Any other error is a bug.
 */
export class Florence2Error extends Error {
  override name = 'Florence2Error';
  /** The kind of error. */
  readonly code: ErrorCode;

  constructor(message: string, { code = 'INVALID_DATA', cause }: ErrorDetails = {}) {
    super(/^UNKNOWN/.test(code) ? message : shortened(message), cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** Longest message, except those about an unknown name, which may list all names. Others may quote a file. */
const LONGEST_MESSAGE = 480;

/** Returns a message as one line, without its middle if it is too long: it begins with the file and ends with advice. */
function shortened(message: string): string {
  const line = message.replace(/\s*[\r\n\u2028\u2029]\s*/g, ' ');
  const half = LONGEST_MESSAGE / 2 - 2;
  return line.length <= LONGEST_MESSAGE ? line : `${line.slice(0, half)} … ${line.slice(-half)}`;
}

/** An invalid call, such as an unknown task or option. The command line exits with code 2. */
export class UsageError extends Florence2Error {
  override name = 'UsageError';

  constructor(message: string, { code = 'INVALID_ARGUMENT', cause }: ErrorDetails = {}) {
    super(message, { code, cause });
  }
}
