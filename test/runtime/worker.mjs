/** Answers a task in a worker thread, for worker_threads.test.ts. Arguments: checkpoint, backend. */
import { isMainThread, Worker } from 'node:worker_threads';
import { tsImport } from 'tsx/esm/api';

const [folder, backend] = process.argv.slice(2);
if (isMainThread) {
  new Worker(new URL(import.meta.url), { argv: [folder, backend] });
} else {
  const { Florence2 } = await tsImport('../../src/florence2.ts', import.meta.url);
  const model = await Florence2.load(folder, { backend, imageSize: 64 });
  const image = { data: new Uint8Array(64 * 64 * 3), width: 64, height: 64 };
  const { answer } = await model.run(image, '<CAPTION>', { maxNewTokens: 3 });
  console.log(JSON.stringify(answer));
  model.dispose();
}
