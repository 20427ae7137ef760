/** A run that a test kills and resumes: `resume_run.ts CHECKPOINT OUTPUT`. It saves every two steps. */
import { fileURLToPath } from 'node:url';
import { dataset, trainOn, withLearner } from './learner.ts';

export const runOptions = {
  ...{ train: dataset(4, { targets: 3 }), valid: dataset(1, { seed: 9 }), epochs: 4, saveEvery: 2, validateEvery: 4 },
  ...{ lora: { r: 2, dropout: 0.1 }, dropout: true },
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , checkpoint, output] = process.argv;
  await withLearner(checkpoint, florence => trainOn(florence, { ...runOptions, output, resume: true }));
}
