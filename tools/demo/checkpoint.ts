import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseConfig } from '../../src/config/model.ts';
import { Florence2Model } from '../../src/model/florence2_model.ts';
import { Tokenizer } from '../../src/text/tokenizer.ts';
import { writeSafetensors } from '../../src/weights/safetensors_file.ts';
import { configJson, generationJson, preprocessorJson, type Shape } from '../checkpoint_shapes.ts';
import { tensorsToWrite, writeJson } from '../random_checkpoint.ts';
import { InitialWeights } from './initial_weights.ts';
import { SCENE_SIDE } from './layout.ts';
import { demoTokenizer } from './tokenizer.ts';

/** Florence-2, small in every dimension. Dropout is 0, because no scene is repeated. */
const demoShape: Shape = {
  ...{ dimEmbed: [32, 64, 96, 128], heads: [1, 2, 3, 4], depths: [1, 1, 2, 1], strides: [4, 2, 2, 1], window: 8 },
  ...{ dModel: 128, layers: 3, textHeads: 4, ffn: 512, maxPositions: 512, imageSize: SCENE_SIDE },
  ...{ dropout: 0, endBoost: 0 },
};

/** Greedy. Repeated n-grams are allowed, because lists of boxes repeat. All answers have fewer than 64 tokens. */
const demoGeneration = {
  ...{ ...generationJson, num_beams: 1, early_stopping: false, no_repeat_ngram_size: 0, max_new_tokens: 128 },
};

/** Writes the demo checkpoint before training, in Microsoft's layout and fp32. */
export async function writeUntrainedDemo(folder: string, seed: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  const { json, config: tokenizerConfig, size } = demoTokenizer();
  await writeJson(folder, 'tokenizer.json', json, 0);
  await writeJson(folder, 'tokenizer_config.json', tokenizerConfig);
  const config = configJson(demoShape, 'microsoft', size, 'float32');
  await writeJson(folder, 'config.json', config);
  await writeJson(folder, 'generation_config.json', demoGeneration);
  await writeJson(folder, 'preprocessor_config.json', preprocessorJson(demoShape));
  const { parameters } = new Florence2Model(parseConfig(config));
  const tokenizer = Tokenizer.fromFiles({ tokenizerJson: JSON.stringify(json) });
  const weights = new InitialWeights(seed, tokenizer.tokenToId('<loc_0>')!);
  const tensors = tensorsToWrite(parameters, 'microsoft', 'F32', weights);
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
}
