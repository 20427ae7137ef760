/**
 * Fits the calibration of a demo checkpoint and writes it to its folder, on scenes of both suites that are neither
 * trained nor measured on:
 *
 *     npm run demo:calibrate -- [--model DIR] [--scenes N] [--backend NAME]
 */
import { parseArgs } from 'node:util';
import { exitOnError } from '../src/cli/exit.ts';
import { ProgressBars } from '../src/cli/progress.ts';
import { Florence2 } from '../src/index.ts';
import type { BackendName } from '../src/runtime/backend.ts';
import { wholeNumber } from './arguments.ts';
import { calibrateDemo } from './demo/calibrate.ts';

async function main(): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({ options: { model: text, scenes: text, backend: text } });
  const scenes = wholeNumber('scenes', values.scenes ?? '300', 2);
  const backend = (values.backend ?? 'auto') as BackendName | 'auto';
  const florence = await Florence2.load(values.model ?? 'demo', { backend });
  const bars = new ProgressBars();
  const onProgress = (done: number) => bars.show('Calibrating', done, scenes, 'scenes');
  await calibrateDemo(florence, scenes, onProgress);
  bars.stop();
  florence.dispose();
  console.log(`Wrote calibration.json to ${florence.folder}.`);
}

await exitOnError(main);
