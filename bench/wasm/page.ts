/** The page of wasm.ts: runs the vision tower with random weights, in one of three variants. */
import * as tf from '@tensorflow/tfjs';
import { parseConfig } from '../../src/config/model.ts';
import { noHooks } from '../../src/hooks/hooks.ts';
import { Florence2Model } from '../../src/model/florence2_model.ts';
import { registerWasm } from '../../src/runtime/wasm.ts';
import { configJson, type ShapeName, shapes } from '../../tools/checkpoint_shapes.ts';
import { naiveDavit } from './naive_davit.ts';

/** Milliseconds of each run, and Σ |y| of the feature map, to check that the variants agree. */
export interface Timed {
  backend: string;
  times: number[];
  sum: number;
}

async function time(
  way: 'naive' | 'ours',
  threads: boolean,
  shape: ShapeName,
  side: number,
  runs: number,
): Promise<Timed> {
  await import('@tensorflow/tfjs-backend-wasm'); // defines the flag
  if (!threads) tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
  const backend = await registerWasm('/wasm/');
  const { vision, model } = randomModel(shape);
  const pixels = tf.randomNormal([1, side, side, 3], 0, 1, 'float32', 1) as tf.Tensor4D;
  const stored = new Map(vision.map(parameter => [parameter.name, parameter.inCheckpointOrder(parameter.value)]));
  const run = () => {
    if (way === 'ours') return model.visionTower.forward(pixels, noHooks);
    return naiveDavit(pixels, name => stored.get(`vision_tower.${name}`)!, model.config.vision);
  };
  const times: number[] = [];
  let sum = 0;
  for (let i = 0; i <= runs; i++) {
    const start = performance.now();
    const map = run();
    sum = (await tf.tidy(() => tf.sum(tf.abs(map))).data())[0];
    if (i > 0) times.push(performance.now() - start);
    map.dispose();
  }
  return { backend, times, sum };
}

function randomModel(name: ShapeName) {
  const model = new Florence2Model(parseConfig(configJson(shapes[name], 'native', 100, 'float32')));
  const vision = [...model.parameters.values()].filter(({ name }) => name.startsWith('vision_tower.'));
  vision.forEach((parameter, i) => {
    parameter.load(
      tf.tidy(() => tf.randomNormal(parameter.shape, 0, 0.05, 'float32', i + 1).dataSync()) as Float32Array,
    );
  });
  return { model, vision };
}

Object.assign(globalThis, { time });
