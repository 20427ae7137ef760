import type { Dataset } from '../../src/datasets/example.ts';
import { calibrate, type Florence2, writeCalibration } from '../../src/index.ts';
import { sceneDataset } from './dataset.ts';
import { SUITES } from './layout.ts';
import { CALIBRATION_SEED } from './seeds.ts';

/** Fits the calibration of a demo checkpoint to scenes of both suites, uses it, and writes it to the model's folder. */
export async function calibrateDemo(
  florence: Florence2,
  scenes: number,
  onProgress?: (scenesDone: number) => void,
): Promise<void> {
  const calibration = await calibrate(florence, bothSuites(scenes), { numBeams: 1, onProgress });
  await writeCalibration(florence.folder, calibration);
}

/** Plain scenes at even indices, wide ones at odd indices. */
function bothSuites(length: number): Dataset {
  const suites = SUITES.map(suite => sceneDataset(CALIBRATION_SEED, length, { suite }));
  return {
    name: 'scenes of both suites',
    length,
    example: index => suites[index % suites.length].example(index),
  };
}
