/** One optimizer step. */
export interface StepRecord {
  /** Steps done, this one included: 1 for the first. */
  step: number;
  epoch: number;
  /** Mean over the step's answer tokens. */
  loss: number;
  learningRate: number;
  /** Global norm of the gradients before they are clipped. */
  gradNorm: number;
  samplesPerSecond: number;
  /** Time left to the end of the run, as the speed so far has it. */
  secondsLeft: number;
  /** By task (see `metricsKey`). */
  taskLosses: Record<string, number>;
}

/** One validation, after `step` steps. */
export interface ValidationRecord {
  step: number;
  epoch: number;
  loss: number;
  /** By task, the metrics by name (see `Evaluator`). */
  metrics: Record<string, Record<string, number>>;
  taskLosses: Record<string, number>;
}
