import { Florence2Error } from '../../errors.ts';

/** Something that is wrong with a dataset. */
export interface DatasetProblem {
  /** `error`: training refuses it. `warning`: it is learnt or left out, and most likely a mistake. */
  severity: 'error' | 'warning';
  /** The file and the line, or the place in the file. */
  source: string;
  message: string;
}

/** What becomes of problems. The readers leave out what is wrong and go on where it returns. */
export type ProblemHandler = (problem: DatasetProblem) => void;

/** The readers' default: errors are thrown, warnings passed over. */
export function refuseErrors({ severity, source, message }: DatasetProblem): void {
  if (severity === 'error') throw new Florence2Error(`${source}: ${message}`);
}

/** The value of `body`. An error for people becomes a problem of this source, and the value undefined. */
export function reporting<T>(source: string, onProblem: ProblemHandler, body: () => T): T | undefined {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof Florence2Error)) throw error;
    onProblem({ severity: 'error', source, message: error.message });
    return undefined;
  }
}
