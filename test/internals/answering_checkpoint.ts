import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadTokenizer } from '../../src/checkpoint/tokenizer_files.ts';
import { parseConfig } from '../../src/config/model.ts';
import { Florence2Model } from '../../src/model/florence2_model.ts';
import { openFolder } from '../../src/platform/node.ts';
import { toNative } from '../../src/weights/names.ts';
import { writeSafetensors } from '../../src/weights/safetensors_file.ts';
import { elementCount } from '../../src/weights/tensor_file.ts';
import { reference, referenceJson } from '../reference.ts';

/**
 * Writes a checkpoint that returns the same answer for every prompt and image, with Florence-2's own tokenizer. All
 * weights are zero except the position embeddings, the norms' scales and the head: the decoder's output is the unit
 * vector of its position, which the head maps to the token of the answer at this position.
 */
export async function writeAnsweringCheckpoint(folder: string, answer: string): Promise<void> {
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
    copyFileSync(reference(`tokenizer/${name}`), join(folder, name));
  }
  const json = referenceJson('model/tiny-pad/hf/config.json');
  const vocabSize = 51290; // the tokens, and one for images
  json.text_config.vocab_size = vocabSize;
  json.image_token_id = vocabSize - 1;
  const { d_model: D, max_position_embeddings: positions } = json.text_config;
  writeFileSync(join(folder, 'config.json'), JSON.stringify(json));
  writeFileSync(join(folder, 'preprocessor_config.json'), JSON.stringify({ size: { height: 96, width: 96 } }));

  const ids = (await loadTokenizer(openFolder(folder))).encode(answer); // with <s> and </s>
  if (ids.length > Math.min(D, positions)) throw new Error(`${ids.length} tokens are more than the ${D} there can be.`);
  const special: Record<string, (table: Float32Array, i: number, id: number) => void> = {
    'language_model.decoder.embed_positions.weight': (table, i) => table.set([1], (i + 2) * D + i),
    'lm_head.weight': (table, i, id) => table.set([20], id * D + i),
  };
  const { parameters } = new Florence2Model(parseConfig(json));
  const wanted = [...parameters.values()].filter(({ name }) => name !== 'final_logits_bias');
  const tensors = wanted.map(({ name, shape }) => {
    const isNorm = /decoder\..*norm\w*\.weight$/.test(name);
    const data = new Float32Array(elementCount(shape)).fill(isNorm ? 1 : 0);
    for (const [i, id] of ids.entries()) special[name]?.(data, i, id);
    return { name: toNative(name), shape, data };
  });
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
}
