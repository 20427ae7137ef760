import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2 } from '../../src/florence2.ts';
import { fastestExecutor } from '../../src/model/fastest_executor.ts';
import {
  bf16Ratio,
  keepProductTimes,
  measureProducts,
  type ProductTimes,
  readProductTimes,
} from '../../src/runtime/product_times.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import { tinyCheckpoint } from '../tiny_checkpoint.ts';
import { temporaryFolder } from '../weights/temporary.ts';

const folder = await tinyCheckpoint();
const model = await Florence2.load(folder, { backend: testBackend });
const cache = temporaryFolder();
const onTensorflow = testBackend === 'tensorflow' ? test : test.skip;

/** Runs `body` with an empty cache folder; the build of TensorFlow is loaded already. */
async function withCache<T>(body: () => Promise<T>): Promise<T> {
  const { FLORENCE2_CACHE } = process.env;
  process.env.FLORENCE2_CACHE = cache;
  try {
    return await body();
  } finally {
    if (FLORENCE2_CACHE === undefined) delete process.env.FLORENCE2_CACHE;
    else process.env.FLORENCE2_CACHE = FLORENCE2_CACHE;
  }
}

onTensorflow('each product is measured in each precision', () =>
  withoutLeaks(async () => {
    const shapes = [[64, 32, 16], [2, 8, 4]] as const; // biome-ignore format: one line
    const { products, cores, processor } = await measureProducts(shapes);
    assert.equal(products.map(({ shape }) => shape), shapes); // biome-ignore format: one line
    for (const { fp32, bf16 } of products)
      for (const time of [fp32, bf16]) assert.ok(time > 0 && time < 1e4, `${time}`);
    assert.ok(cores >= 1 && processor.length > 0);
  }),
);

test('times are kept, and count only on the same processor', () =>
  withCache(async () => {
    assert.is(readProductTimes(), undefined);
    const here = await measured(2, 3);
    await keepProductTimes(here);
    assert.equal(readProductTimes(), here);
    assert.is(bf16Ratio(here), 1.5);
    await keepProductTimes({ ...here, processor: 'another' });
    assert.is(readProductTimes(), undefined);
    writeFileSync(join(cache, 'product_times.json'), '{');
    assert.is(readProductTimes(), undefined);
  }));

onTensorflow('choosing bf16 warns once if it is slower on this processor', async () => {
  const warnings: string[] = [];
  const { warn } = console;
  console.warn = message => void warnings.push(message);
  try {
    for (const [fp32, bf16, precision] of [
      [3, 2, 'bf16'],
      [2, 3, 'fp32'],
      [2, 3, 'bf16'],
      [2, 3, 'bf16'],
    ] as const) {
      // biome-ignore format: one line
      warnings.push(`${fp32} ${bf16} ${precision}`);
      await withCache(async () => {
        await keepProductTimes(await measured(fp32, bf16));
        const executor = await fastestExecutor(model.model, precision); // as Florence2.load does
        executor.dispose();
      });
    }
  } finally {
    console.warn = warn;
  }
  const warning = 'Products in bf16 take 1.50 times as long as in fp32 on this processor (florence2 doctor).';
  assert.equal(warnings, ['3 2 bf16', '2 3 fp32', '2 3 bf16', warning, '2 3 bf16']);
});

/** Returns times of this machine: measured for the names of its processor, with other numbers. */
async function measured(fp32: number, bf16: number): Promise<ProductTimes> {
  const machine = await measureProducts([]);
  return { ...machine, products: [{ shape: [1, 1, 1], fp32, bf16 }] };
}

test.after(() => model.dispose());
test.run();
