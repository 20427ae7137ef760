import { join } from 'node:path';
import { loadConfig } from '../src/checkpoint/load_config.ts';
import { loadTokenizer } from '../src/checkpoint/tokenizer_files.ts';
import type { TrainingExample } from '../src/datasets/example.ts';
import { lengthLimits, tokenizeTarget } from '../src/datasets/tokenize.ts';
import { decodeImage } from '../src/image/decode.ts';
import { preprocess } from '../src/image/preprocess.ts';
import { resizeBicubic } from '../src/image/resize.ts';
import { openFolder } from '../src/platform/node.ts';
import type { TensorToWrite } from '../src/weights/safetensors.ts';
import { writeSafetensors } from '../src/weights/safetensors_file.ts';
import { picture } from './inputs.ts';

/**
 * Returns the example of every step on both sides: an image in the model's size and an answer of about forty tokens.
 */
export async function trainingExample(size: { width: number; height: number }): Promise<TrainingExample> {
  const { data } = resizeBicubic(await decodeImage(picture), size.width, size.height);
  const labels = ['car', 'house', 'tree', 'door', 'window', 'street'];
  const boxes = labels.map((label, i) => ({ label, box: [10 * i, 5 * i, 20 + 10 * i, 30 + 15 * i] }));
  return { image: { data, ...size }, source: 'example', targets: [{ task: '<OD>', answer: { boxes } }] };
}

/**
 * Writes the example as inputs for PyTorch and returns the path: pixel_values [1, 3, H, W], prompt_ids and labels [1,
 * T].
 */
export async function writeInputs(checkpoint: string): Promise<string> {
  const { config, preprocessor } = await loadConfig(openFolder(checkpoint));
  const example = await trainingExample(preprocessor);
  const image = example.image as { data: Uint8Array; width: number; height: number };
  const tokenizer = await loadTokenizer(openFolder(checkpoint));
  const { promptIds, answerIds } = tokenizeTarget(
    example.targets[0],
    image,
    tokenizer,
    lengthLimits(config, preprocessor),
  );
  const { data, shape } = preprocess(image, preprocessor);
  const [, H, W, C] = shape;
  const channelsFirst = data.map((_, at) => data[(at % (H * W)) * C + Math.floor(at / (H * W))]);
  const row = (name: string, ids: number[]): TensorToWrite => {
    return { name, shape: [1, ids.length], data: () => Float32Array.from(ids) };
  };
  const path = join(checkpoint, 'inputs.safetensors');
  const pixels = { name: 'pixel_values', shape: [1, C, H, W], data: () => channelsFirst };
  await writeSafetensors(path, [pixels, row('prompt_ids', promptIds), row('labels', answerIds)], {});
  return path;
}
