/**
 * Loads a checkpoint and prints the memory that it takes as JSON: node --import tsx load_memory.ts FOLDER BACKEND.
 * `growth`: peak resident set size minus that after the start of the backend, in bytes. `weights`: bytes of the model's
 * fp32 weights.
 */
import * as tf from '@tensorflow/tfjs';
import { Florence2 } from '../../src/florence2.ts';
import { openFolder } from '../../src/platform/node.ts';
import { type BackendName, useBackend } from '../../src/runtime/backend.ts';
import { canonicalCheckpoint } from '../../src/weights/canonical.ts';
import { openCheckpoint } from '../../src/weights/checkpoint.ts';
import { elementCount } from '../../src/weights/tensor_file.ts';

const [folder, backend] = process.argv.slice(2) as [string, BackendName];
await useBackend(backend);
await tf.tidy(() => tf.matMul(tf.ones([64, 64]), tf.ones([64, 64]))).data(); // a backend starts at its first computation
const before = process.memoryUsage.rss();
const model = await Florence2.load(folder, { backend });
const growth = process.resourceUsage().maxRSS * 1024 - before;
const checkpoint = await canonicalCheckpoint(await openCheckpoint(openFolder(folder)));
const weights = [...checkpoint.tensors.values()].reduce((bytes, { shape }) => bytes + 4 * elementCount(shape), 0);
await checkpoint.close();
model.dispose();
console.log(JSON.stringify({ growth, weights }));
