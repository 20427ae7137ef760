/**
 * Fits the calibration of a demo checkpoint and writes it to its folder, on scenes of both suites that are neither
 * trained nor measured on:
 *
 *     npm run demo:calibrate -- [--model DIR] [--scenes N] [--backend NAME]
 */
import { parseArgs } from 'node:util';
import { exitOnError } from '../src/cli/exit.ts';
import { ProgressBars } from '../src/cli/progress.ts';
import type { Dataset } from '../src/datasets/example.ts';
import { calibrate, Florence2, writeCalibration } from '../src/index.ts';
import type { BackendName } from '../src/runtime/backend.ts';
import { wholeNumber } from './arguments.ts';
import { sceneDataset } from './demo/dataset.ts';
import { CALIBRATION_SEED } from './demo/seeds.ts';

async function main(): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({ options: { model: text, scenes: text, backend: text } });
  const scenes = wholeNumber('scenes', values.scenes ?? '300', 2);
  const backend = (values.backend ?? 'auto') as BackendName | 'auto';
  const florence = await Florence2.load(values.model ?? 'demo', { backend });
  const bars = new ProgressBars();
  const onProgress = (done: number) => bars.show('Calibrating', done, scenes, 'scenes');
  const calibration = await calibrate(florence, bothSuites(scenes), { numBeams: 1, onProgress });
  bars.stop();
  await writeCalibration(florence.folder, calibration);
  florence.dispose();
  console.log(`Wrote calibration.json to ${florence.folder}.`);
}

/** Plain scenes at even indices, wide ones at odd indices. */
function bothSuites(length: number): Dataset {
  const suites = (['plain', 'wide'] as const).map(suite => sceneDataset(CALIBRATION_SEED, length, { suite }));
  return { name: 'scenes of both suites', length, example: index => suites[index % 2].example(index) };
}

await exitOnError(main);
