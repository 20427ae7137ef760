import { dirname, join, resolve } from 'node:path';
import { type Activation, difference } from '../activations/activation.ts';
import { toDumpLayout } from '../activations/dump_names.ts';
import { loadConfig } from '../checkpoint/load_config.ts';
import { loadTokenizer } from '../checkpoint/tokenizer_files.ts';
import { decodeImage } from '../image/decode.ts';
import { preprocess } from '../image/preprocess.ts';
import { openFolder } from '../platform/node.ts';
import { promptOf } from '../text/prompt.ts';
import { taskInfo } from '../text/tasks.ts';
import { requireTensor, type TensorFile } from '../weights/tensor_file.ts';
import type { DumpedCheckpoint, DumpedRequest } from './manifest.ts';
import { INPUT_FILE, type TensorRow } from './report.ts';

/** Tolerance of normalised pixels, which are below 3: a few fp32 roundings. One of 255 levels is 1000 times larger. */
const PIXELS = 2e-6;

/** Preprocesses the image and the task of a dump, and compares the pixels and token ids with the dump's inputs. */
export async function checkRequest(
  folder: string,
  { file }: DumpedCheckpoint,
  { image, task, text }: DumpedRequest,
  inputs: TensorFile,
): Promise<TensorRow[]> {
  const checkpoint = dirname(resolve(folder, file));
  const { preprocessor } = await loadConfig(openFolder(checkpoint));
  const tokenizer = await loadTokenizer(openFolder(checkpoint));
  const decoded = await decodeImage(join(folder, image));
  const { data, shape } = preprocess(decoded, preprocessor);
  const prompt = taskInfo(task) ? promptOf(task, { text }, decoded) : promptOf(task + (text ?? ''), {}, decoded);
  const ids = tokenizer.encode(prompt);
  const promptIds = { values: Float32Array.from(ids), shape: [1, ids.length] };
  return [
    await compareInput(inputs, 'pixel_values', { values: data, shape }, PIXELS),
    await compareInput(inputs, 'text_input_ids', promptIds, 0),
  ];
}

async function compareInput(
  inputs: TensorFile,
  name: string,
  computed: Activation,
  tolerance: number,
): Promise<TensorRow> {
  const { shape } = requireTensor(inputs.tensors, name, inputs.path);
  const row = { file: INPUT_FILE, name, shape: computed.shape, tolerance, firstDeparture: false };
  const got = toDumpLayout(computed, computed.shape.length === 4 ? 'channels first' : 'same', shape);
  if (!got) {
    const problem = `has shape [${computed.shape}], expected [${shape}]`;
    return { ...row, maxAbs: Infinity, relative: Infinity, equal: false, problem };
  }
  const { maxAbs, relative } = difference(got, await inputs.readFloat32(name));
  return { ...row, maxAbs, relative, equal: maxAbs <= tolerance };
}
