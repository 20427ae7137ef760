import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readLog } from '../../src/training/log/run_log.ts';
import type { TrainerOptions } from '../../src/training/options.ts';
import { openSafetensors } from '../../src/weights/safetensors_file.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import {
  apart,
  dataset,
  learnerCheckpoint,
  logic,
  newFolder,
  sameLosses,
  TOLERANCE,
  train,
  trainOn,
  valuesOf,
  withLearner,
} from './learner.ts';
import { runOptions } from './resume_run.ts';

const folder = await learnerCheckpoint();
const frozen = [/^(vision_tower|multi_modal_projector|language_model\.shared)\./];
const everything = testBackend === 'wasm' ? frozen : [];
/** Above the rounding noise of gradients that are mathematically 0 (key biases), which Adam would otherwise amplify. */
const epsilon = 1e-4;
const mixture = {
  train: [
    { dataset: dataset(3, { name: 'a' }), weight: 1 },
    { dataset: dataset(4, { name: 'b', seed: 20 }), weight: 0.5 },
  ],
  epochs: 3,
  batchSize: 2,
  epsilon,
};
const cases: [what: string, options: Partial<TrainerOptions> & Pick<TrainerOptions, 'train'>][] = [
  ['all of the model', { train: dataset(3), epochs: 2, freeze: everything, epsilon }],
  ['an adapter, with dropout', { train: dataset(3), epochs: 2, lora: { r: 2, dropout: 0.2 }, dropout: true, epsilon }],
  [
    'several datasets and epochs, sampled targets, batches, dropout, a schedule',
    {
      ...mixture,
      freeze: frozen,
      accumulate: 2,
      targetsPerImage: 1,
      dropout: true,
      schedule: 'cosine',
      warmupSteps: 2,
    },
  ],
  ['augmented images', { ...mixture, lora: { r: 2 }, augment: { flip: 0.5, brightness: 0.4 } }],
];

async function sameEnd(got: Awaited<ReturnType<typeof train>>, whole: typeof got): Promise<void> {
  const { by, name } = apart(await valuesOf(got.florence), await valuesOf(whole.florence));
  assert.ok(by <= TOLERANCE, `${name} differs by ${by}`);
}

for (const [what, options] of cases) {
  (what === 'an adapter, with dropout' ? test : logic)(
    `${what}: a stopped and resumed run ends like an uninterrupted one`,
    () =>
      withoutLeaks(async () => {
        const whole = await train(folder, options);
        assert.not.ok(whole.stopped);
        for (const stop of [1, whole.steps - 2]) {
          const output = newFolder();
          const stopping = new AbortController();
          const onStep = ({ step }: { step: number }) => {
            if (step === stop) stopping.abort();
          };
          const first = await train(folder, { ...options, output, onStep }, { signal: stopping.signal });
          assert.ok(first.stopped, 'the summary says that it was stopped');
          assert.is(first.steps, stop);
          const second = await train(folder, { ...options, output, resume: true });
          assert.is(second.steps, whole.steps);
          sameLosses([...first.losses, ...second.losses], whole.losses, `stopped after ${stop}`);
          await sameEnd(second, whole);
          const logged = (await readLog(join(output, 'metrics.jsonl'))).map(({ step, loss }) => ({ step, loss }));
          assert.equal(
            logged.map(({ step }) => step),
            whole.losses.map((_, i) => i + 1),
            'each step is logged once',
          );
          first.florence.dispose();
          second.florence.dispose();
        }
        whole.florence.dispose();
      }),
  );
}

logic('a stopped validation is repeated after resuming, with the same result', () =>
  withoutLeaks(async () => {
    const options = { train: dataset(2), valid: dataset(2, { seed: 7 }), epochs: 3, lora: { r: 2 } };
    const validations: number[] = [];
    const onValidation = ({ loss }: { loss: number }) => void validations.push(loss);
    const whole = await train(folder, { ...options, onValidation });
    const output = newFolder();
    const stopping = new AbortController();
    const { example, ...set } = options.valid;
    const valid = {
      ...set,
      example: (i: number) => {
        stopping.abort(); // during the validation
        return example(i);
      },
    };
    const first = await train(folder, { ...options, valid, output }, { signal: stopping.signal });
    assert.equal([first.steps, first.stopped, first.best], [2, true, null]);
    const resumed: number[] = [];
    const again = {
      ...options,
      output,
      resume: true,
      onValidation: ({ loss }: { loss: number }) => resumed.push(loss),
    };
    const second = await train(folder, again);
    sameLosses(resumed, validations, 'validation');
    assert.is(second.best?.step, whole.best?.step);
    for (const { florence } of [whole, first, second]) florence.dispose();
  }),
);

test('resuming a finished run does nothing and returns its summary', () =>
  withoutLeaks(async () => {
    const options = { train: dataset(2), lora: { r: 2 }, output: newFolder() };
    const first = await train(folder, options);
    const second = await train(folder, { ...options, resume: true });
    assert.equal(second.losses, []);
    assert.equal([second.steps, second.loss, second.stopped], [2, first.loss, false]);
    await sameEnd(second, first);
    first.florence.dispose();
    second.florence.dispose();
  }));

test('refused: a new run in the folder of another', async () => {
  const options = { train: dataset(1), lora: { r: 2 }, output: newFolder() };
  (await train(folder, options)).florence.dispose();
  const error = await train(folder, options).then(
    () => undefined,
    error => error,
  );
  assert.match(error?.message, /already contains a run: set resume to continue it, or choose another output folder/);
});

const others: [what: string, options: Partial<TrainerOptions>, message: RegExp][] = [
  [
    'a different rank',
    { lora: { r: 3 } },
    /was started with other settings: lora\.r was 2 and is 3\. Resume it with those/,
  ],
  ['fewer layers', { lora: { r: 2, targets: ['q_proj'] } }, /lora\.targets was not set and is \["q_proj"\]/],
  [
    'another rate and schedule',
    { learningRate: 1, schedule: 'cosine' },
    /learningRate was 0\.001 and is 1; schedule was "linear"/,
  ],
  ['other data', { train: dataset(1, { seed: 5 }) }, /dataset 1 was "1 examples, \w+" and is "1 examples, \w+"/],
  ['more data', { train: dataset(2) }, /dataset 1 was "1 examples, \w+" and is "2 examples, \w+"/],
  [
    'a different rank by force',
    { lora: { r: 3 }, force: true },
    /lora_A\.weight has shape \[16, 2\], but in this run it has shape \[16, 3\]/,
  ],
  [
    'fewer layers by force',
    { lora: { r: 2, targets: ['q_proj'] }, force: true },
    /has \d+ parameters that this run does not train/,
  ],
  [
    'more layers',
    { lora: { r: 2, targets: 'all-linear' }, force: true },
    /lacks .*lora_A\.weight, which this run trains/,
  ],
];
for (const [what, options, message] of testBackend === 'wasm' ? others.slice(0, -1) : others) {
  logic(`refused: resuming with ${what}`, () =>
    withoutLeaks(async () => {
      const first = { train: dataset(1), lora: { r: 2 }, output: newFolder() };
      (await train(folder, first)).florence.dispose();
      const error = await train(folder, { ...first, ...options, resume: true }).then(
        () => undefined,
        error => error,
      );
      assert.match(error?.message, message);
    }),
  );
}

logic('more epochs, other saves and a forced change of the rate are no hindrance', () =>
  withoutLeaks(async () => {
    const first = { train: dataset(1), lora: { r: 2 }, output: newFolder() };
    (await train(folder, first)).florence.dispose();
    const longer = { ...first, epochs: 2, saveEvery: 1, resume: true };
    const more = await train(folder, longer);
    assert.is(more.steps, 2);
    more.florence.dispose();
    const forced = await train(folder, { ...longer, epochs: 3, learningRate: 1e-5, force: true });
    assert.is(forced.steps, 3);
    forced.florence.dispose();
  }),
);

const script = fileURLToPath(new URL('resume_run.ts', import.meta.url));

/** Starts resume_run.ts in a child process, kills it when `when` resolves, and returns its exit code. */
async function start(output: string, when?: (exited: () => boolean) => Promise<void>): Promise<number | null> {
  const child = spawn(process.execPath, ['--import', 'tsx', script, folder, output], {
    env: { ...process.env, FLORENCE2_TEST_BACKEND: testBackend },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = new Promise<number | null>(done => child.on('exit', done));
  if (when) {
    await when(() => child.exitCode !== null);
    child.kill('SIGKILL');
  }
  return ended;
}

const linesOf = (output: string): number =>
  existsSync(join(output, 'metrics.jsonl'))
    ? readFileSync(join(output, 'metrics.jsonl'), 'utf8').split('\n').length - 1
    : 0;

logic('a run that was killed at three random moments and resumed ends like an uninterrupted one', async () => {
  const whole = await train(folder, { ...runOptions, output: newFolder() });
  const output = newFolder();
  let delay = 1;
  for (const lines of [3, 6, 9]) {
    await start(output, async exited => {
      while (linesOf(output) < lines && !exited()) await sleep(5);
      delay = (delay * 7919) % 97; // a moment during the next steps and saves
      await sleep(delay);
    });
  }
  assert.is(await start(output), 0);
  const logged = (await readLog(join(output, 'metrics.jsonl'))).filter(({ kind }) => kind === 'step');
  sameLosses(
    logged.map(({ loss }) => loss),
    whole.losses,
  );
  const [a, b] = [await tensorsOf(join(whole.output, 'latest')), await tensorsOf(join(output, 'latest'))];
  const { by, name } = apart(a, b);
  assert.ok(by <= TOLERANCE, `${name} differs by ${by}`);
  whole.florence.dispose();
});

async function tensorsOf(adapter: string): Promise<Map<string, Float32Array>> {
  const file = await openSafetensors(join(adapter, 'adapter_model.safetensors'));
  const tensors = new Map<string, Float32Array>();
  for (const name of file.tensors.keys()) tensors.set(name, await file.readFloat32(name));
  await file.close();
  return tensors;
}

logic('an interrupted save is repaired', async () => {
  const options = { train: dataset(2), epochs: 2, lora: { r: 2 } };
  const whole = await train(folder, options);
  const output = newFolder();
  const stopping = new AbortController();
  const onStep = ({ step }: { step: number }) => {
    if (step === 3) stopping.abort();
  };
  await withLearner(folder, florence => trainOn(florence, { ...options, output, onStep }, stopping));
  mkdirSync(join(output, '.latest.part'));
  writeFileSync(join(output, '.latest.part', 'training_state.json'), '{"step": 4');
  renameSync(join(output, 'latest'), join(output, '.latest.old'));
  writeFileSync(join(output, 'metrics.jsonl'), '{"kind":"step","st', { flag: 'a' });
  const rest = await train(folder, { ...options, output, resume: true });
  sameLosses(rest.losses, whole.losses.slice(3));
  assert.not.ok(existsSync(join(output, '.latest.part')) || existsSync(join(output, '.latest.old')));
  whole.florence.dispose();
  rest.florence.dispose();
});

test.run();
