export const scheduleNames = ['constant', 'linear', 'cosine'] as const;

export type ScheduleName = (typeof scheduleNames)[number];

export interface Schedule {
  schedule: ScheduleName;
  /** The highest learning rate. */
  learningRate: number;
  /** Steps in which the rate rises from 0 to it. */
  warmupSteps: number;
  /** Steps of the whole run, at whose end `linear` and `cosine` are at 0. */
  totalSteps: number;
}

/** The learning rate of a step, counted from 0, as transformers' schedulers of these names give it. */
export function learningRateAt(step: number, { schedule, learningRate, warmupSteps, totalSteps }: Schedule): number {
  if (step < warmupSteps) return (learningRate * step) / warmupSteps;
  if (schedule === 'constant') return learningRate;
  const progress = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
  const share = schedule === 'linear' ? 1 - progress : (1 + Math.cos(Math.PI * progress)) / 2;
  return learningRate * share;
}
