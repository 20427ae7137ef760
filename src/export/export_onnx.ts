import { join } from 'node:path';
import { jsonBytes, TOKENIZER_FILES } from '../checkpoint/tokenizer_files.ts';
import type { CheckpointParts } from '../checkpoint/write.ts';
import { processorFiles } from '../checkpoint/write_config.ts';
import { formatConfig } from '../config/format.ts';
import { UsageError } from '../errors.ts';
import type { Folder } from '../files/folder.ts';
import { writeNewFolder } from '../files/write.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { checkKind, text } from '../options.ts';
import { openFolder } from '../platform/node.ts';
import { type AnswerKind, TASKS } from '../text/tasks.ts';
import { onnxFiles } from './onnx_file.ts';
import { decoderModel, embedTokens, encoderModel, type OnnxModel, visionEncoder } from './onnx_models.ts';

/**
 * Writes a model for ONNX Runtime and transformers.js to a new folder: configuration, tokenizer and processor, and in
 * `onnx` the models `vision_encoder`, `embed_tokens`, `encoder_model` and `decoder_model_merged` in fp32. Nothing is
 * computed but copies of the weights, so that any backend will do.
 *
 * @param florence a `Florence2`
 * @throws UsageError while an adapter is active that is not merged, and for a folder that contains files; Florence2Error
 *   if the folder cannot be written
 */
export async function exportOnnx(florence: CheckpointParts, folder: string): Promise<void> {
  checkKind('The folder of the export', folder, text);
  const { model, preprocessor } = florence;
  if (model.adaptation.layers.size > 0) {
    throw new UsageError('An adapter is active that is not merged: call adapters.merge() first.');
  }
  await writeNewFolder(folder, async unfinished => {
    await writeSettings(florence, unfinished);
    await writeModels(model, preprocessor, openFolder(join(unfinished, 'onnx')));
  });
}

/** Writes the four models of a network for images of one size. */
export async function writeModels(
  model: Florence2Model,
  { height, width }: { height: number; width: number },
  to: Folder,
): Promise<void> {
  const models: Record<string, () => OnnxModel> = {
    vision_encoder: () => visionEncoder(model, height, width),
    embed_tokens: () => embedTokens(model),
    encoder_model: () => encoderModel(model),
    decoder_model_merged: () => decoderModel(model),
  };
  for (const [name, build] of Object.entries(models)) {
    const { graph, initializers } = build();
    const files = onnxFiles(graph, initializers, `${name}.onnx_data`);
    await to.write(`${name}.onnx`, files.graph);
    await to.write(`${name}.onnx_data`, files.weights);
  }
}

/** Writes what transformers.js reads beside the models. */
async function writeSettings({ model, tokenizer, folder, preprocessor }: CheckpointParts, to: string): Promise<void> {
  const written = openFolder(to);
  const { auto_map, ...config } = formatConfig(model.config);
  const externalData = { 'transformers.js_config': { use_external_data_format: true } };
  await written.write('config.json', jsonBytes({ ...config, ...externalData }));
  const { 'preprocessor_config.json': image } = processorFiles(model.config, preprocessor);
  await written.write('preprocessor_config.json', jsonBytes({ ...image, ...prompts() }));
  const generation = await openFolder(folder).read('generation_config.json');
  if (generation) await written.write('generation_config.json', generation);
  const source = openFolder(tokenizer.source ?? folder);
  for (const name of TOKENIZER_FILES) {
    const content = name === 'tokenizer.json' ? jsonBytes(tokenizer.toJson()) : await source.read(name);
    if (content) await written.write(name, content);
  }
}

/** The tables by which the processor of transformers.js builds prompts and reads answers. */
function prompts(): object {
  const table = (rows: readonly (readonly [string, string])[]): object => Object.fromEntries(rows);
  return {
    tasks_answer_post_processing_type: table(TASKS.map(({ task, answer }) => [task, ANSWER_TYPES[answer]])),
    task_prompts_without_inputs: table(
      TASKS.filter(({ input }) => input === 'none').map(({ task, prompt }) => [task, prompt]),
    ),
    task_prompts_with_input: table(
      TASKS.filter(({ input }) => input !== 'none').map(({ task, prompt }) => [task, prompt]),
    ),
  };
}

/** Microsoft's names of the forms of answers. */
const ANSWER_TYPES: Record<AnswerKind, string> = {
  text: 'pure_text',
  quads: 'ocr',
  boxes: 'description_with_bboxes',
  proposals: 'bboxes',
  phrases: 'phrase_grounding',
  polygons: 'polygons',
  'boxes or polygons': 'description_with_bboxes_or_polygons',
};
