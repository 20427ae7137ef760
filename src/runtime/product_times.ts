/** Times of matrix products in each precision on this processor: some compute bf16 faster than fp32, others slower. */
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { writeWhole } from '../files/write.ts';
import { linear } from '../nn/ops.ts';
import { cacheRoot } from './builds.ts';
import { Graph } from './graph/graph.ts';

/** A product x W + b with x [rows, inner] and W [inner, columns]. */
export type ProductShape = readonly [rows: number, inner: number, columns: number];

/** The time of one product in each precision, in milliseconds. */
export interface ProductTime {
  readonly shape: ProductShape;
  readonly fp32: number;
  readonly bf16: number;
}

/** The times of a machine. They count only where processor and cores are the same. */
export interface ProductTimes {
  readonly processor: string;
  readonly cores: number;
  readonly products: readonly ProductTime[];
}

/** Products of the base model for an image of 768×768: MLPs of DaViT's first and third stage, and of the encoder. */
const OF_BASE: readonly ProductShape[] = [
  [192 * 192, 128, 512],
  [48 * 48, 512, 2048],
  [48 * 48, 2048, 512],
  [600, 768, 3072],
];

/** The best of this many runs counts. */
const RUNS = 5;

/** Measures products as graphs of the tensorflow backend, which must be active, on a CPU. Takes some seconds. */
export async function measureProducts(shapes: readonly ProductShape[] = OF_BASE): Promise<ProductTimes> {
  const products: ProductTime[] = [];
  for (const shape of shapes) {
    const [rows, inner, columns] = shape;
    const weight = tf.randomUniform([inner, columns], -1, 1, 'float32', 1) as tf.Tensor2D;
    const [bias, x] = [tf.zeros([columns]) as tf.Tensor1D, tf.randomUniform([rows, inner], -1, 1, 'float32', 2)];
    const product = (x: tf.Tensor): [tf.Tensor] => [linear(x as tf.Tensor2D, weight, bias)];
    const example = (size: number) => [{ shape: [size, inner], dtype: 'float32' as const }];
    const graphs = [false, true].map(bf16 => {
      return Graph.compile(product, [example(2), example(3)], [weight, bias], { bf16 });
    });
    const best = [Infinity, Infinity];
    for (let run = 0; run <= RUNS; run++) {
      for (const [i, graph] of graphs.entries()) {
        const started = performance.now();
        const [y] = graph.run(x);
        await y.data();
        y.dispose();
        if (run > 0) best[i] = Math.min(best[i], performance.now() - started); // the first run prepares
      }
    }
    for (const graph of graphs) graph.dispose();
    tf.dispose([weight, bias, x]);
    products.push({ shape, fp32: best[0], bf16: best[1] });
  }
  return { ...thisProcessor(), products };
}

/** Returns the time of all products in bf16, relative to that in fp32. */
export function bf16Ratio({ products }: ProductTimes): number {
  const sum = (precision: 'fp32' | 'bf16') => products.reduce((total, product) => total + product[precision], 0);
  return sum('bf16') / sum('fp32');
}

/** Writes times to the user's cache folder. */
export function keepProductTimes(times: ProductTimes): Promise<void> {
  return writeWhole(timesFile(), new TextEncoder().encode(`${JSON.stringify(times, null, 2)}\n`));
}

/** Returns the times that `florence2 setup tensorflow` measured on this processor; undefined if there are none. */
export function readProductTimes(): ProductTimes | undefined {
  const file = timesFile();
  if (!existsSync(file)) return undefined;
  try {
    const times = JSON.parse(readFileSync(file, 'utf8')) as ProductTimes;
    const { processor, cores } = thisProcessor();
    const isHere = times.processor === processor && times.cores === cores;
    return isHere && Number.isFinite(bf16Ratio(times)) ? times : undefined;
  } catch {
    return undefined; // damaged: the next setup measures again
  }
}

let warned = false;

/** Warns once per process if this processor computes bf16 more slowly than fp32. */
export function warnOfSlowBf16(warn: (message: string) => void = console.warn): void {
  const times = warned ? undefined : readProductTimes();
  const ratio = times && bf16Ratio(times);
  if (ratio === undefined || ratio <= 1) return;
  warned = true;
  warn(`Products in bf16 take ${ratio.toFixed(2)} times as long as in fp32 on this processor (florence2 doctor).`);
}

const timesFile = (): string => join(cacheRoot(), 'product_times.json');

const thisProcessor = () => ({ processor: cpus()[0]?.model.trim() ?? 'unknown', cores: availableParallelism() });
