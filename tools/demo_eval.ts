/**
 * Measures the demo checkpoint on scenes that it was not trained on, task by task:
 *
 *     npm run demo:eval -- [--suite plain|wide] [--seed N] [--scenes M] [--constrain] [--json] [--model DIR] [--backend NAME]
 */
import { parseArgs } from 'node:util';
import { exitOnError } from '../src/cli/exit.ts';
import { ProgressBars } from '../src/cli/progress.ts';
import { Florence2 } from '../src/index.ts';
import type { BackendName } from '../src/runtime/backend.ts';
import { oneOf, wholeNumber } from './arguments.ts';
import { type DemoFigures, evaluate, FIGURES, type FigureName } from './demo/evaluate.ts';
import { SUITES } from './demo/layout.ts';
import { HELD_OUT_SEED, TRAINING_SEEDS } from './demo/seeds.ts';

async function main(): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      ...{ suite: text, seed: text, scenes: text, model: text, backend: text },
      ...{ constrain: { type: 'boolean', default: false }, json: { type: 'boolean', default: false } },
    },
  });
  const suite = oneOf('suite', values.suite ?? 'plain', SUITES);
  const seed = wholeNumber('seed', values.seed ?? String(HELD_OUT_SEED), 0);
  const scenes = wholeNumber('scenes', values.scenes ?? '500', 1);
  const model = values.model ?? 'demo';
  const florence = await Florence2.load(model, { backend: (values.backend ?? 'auto') as BackendName | 'auto' });
  if ((TRAINING_SEEDS as readonly number[]).includes(seed))
    console.error(`The checkpoint was trained on scenes of seed ${seed}.`);
  const bars = new ProgressBars();
  const onProgress = (done: number) => bars.show('Evaluating', done, scenes, 'scenes');
  const measured = await evaluate(florence, { suite, seed, scenes, constrain: values.constrain, onProgress });
  bars.stop();
  florence.dispose();
  if (values.json) console.log(JSON.stringify({ model, ...measured }, null, 2));
  else print(model, measured);
}

function print(model: string, { suite, seed, scenes, figures, tasks, scores }: DemoFigures): void {
  console.log(`${model} on ${scenes} ${suite} scenes of seed ${seed}, greedy\n`);
  for (const [name, { says, floor, aim }] of Object.entries(FIGURES)) {
    const value = figures[name as FigureName];
    if (Number.isNaN(value)) continue; // no scene has, for example, a printed word
    const measured = `${says.padEnd(52)} ${value.toFixed(3)}`;
    const verdict = value >= aim ? 'reaches the aim' : value >= floor ? 'above the floor' : 'BELOW THE FLOOR';
    const hasFloor = suite === 'plain' || name === 'absent';
    console.log(hasFloor ? `${measured}  ${verdict} (floor ${floor}, aim ${aim})` : measured);
  }
  console.log();
  for (const task of Object.keys(tasks).sort()) {
    const shown = Object.entries(tasks[task]).filter(([name]) => !name.startsWith('AP/') && name !== 'count');
    const metrics = shown.map(([name, value]) => `${name} ${value.toFixed(3)}`).join('  ');
    console.log(`${task.padEnd(37)} ${String(tasks[task].count).padStart(5)}  ${metrics}`);
  }
  console.log('\nConfidences');
  for (const task of Object.keys(scores).sort()) {
    const { count, ...shown } = scores[task];
    const known = Object.entries(shown).filter(([, value]) => value !== undefined && !Number.isNaN(value));
    const metrics = known.map(([name, value]) => `${name} ${value.toFixed(3)}`).join('  ');
    console.log(`${task.padEnd(37)} ${String(count).padStart(5)}  ${metrics}`);
  }
}

await exitOnError(main);
