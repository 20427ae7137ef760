import { Florence2Error } from '../errors.ts';

/** Options of all readers. */
export interface ReadOptions {
  /**
   * The tasks to learn, by token or name. Default: all tasks of a JSONL file, `<OD>` for objects and `<CAPTION>` for
   * captions (`objectTargets` lists the other tasks that objects can teach).
   */
  tasks?: readonly string[];
  /**
   * Receives each problem; the reader skips the affected entry. Default: throws a Florence2Error for the first error.
   */
  onProblem?: ProblemHandler;
}

/** A part of a dataset. In folders and files the validation split may also be called `val` or `validation`. */
export type Split = 'train' | 'valid' | 'test';

export const SPLITS: readonly Split[] = ['train', 'valid', 'test'];

/** A problem in a dataset. */
export interface DatasetProblem {
  /** `error`: training refuses it. `warning`: probably a mistake, but training learns it or the reader skips it. */
  severity: 'error' | 'warning';
  /** File and line, or the place in the file. */
  source: string;
  /** What is wrong, as a sentence. */
  message: string;
}

/** Receives a problem. */
export type ProblemHandler = (problem: DatasetProblem) => void;

/** The readers' default: throws errors and ignores warnings. */
export function throwErrors({ severity, source, message }: DatasetProblem): void {
  if (severity === 'error') throw new Florence2Error(`${source}: ${message}`);
}

/** Returns the value of `read`. If that throws a Florence2Error, reports it as a problem and returns undefined. */
export function reporting<T>(source: string, onProblem: ProblemHandler, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Florence2Error)) throw error;
    onProblem({ severity: 'error', source, message: error.message });
    return undefined;
  }
}
