import { join } from 'node:path';
import type * as tf from '@tensorflow/tfjs';
import { jsonBytes, TOKENIZER_FILES } from '../checkpoint/tokenizer_files.ts';
import type { CheckpointParts } from '../checkpoint/write.ts';
import { processorFiles } from '../checkpoint/write_config.ts';
import { formatConfig } from '../config/format.ts';
import { UsageError } from '../errors.ts';
import type { Folder } from '../files/folder.ts';
import { writeNewFolder } from '../files/write.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { checkKind, checkOptions, listOf, oneOf, text } from '../options.ts';
import { openFolder } from '../platform/node.ts';
import { type AnswerKind, TASKS } from '../text/tasks.ts';
import { onnxFiles } from './onnx_file.ts';
import { decoderModel, embedTokens, encoderModel, type OnnxModel, type Size, visionEncoder } from './onnx_models.ts';
import { beyondHalf, type OnnxDtype, OnnxWeights } from './onnx_weights.ts';

/** Options of `exportOnnx`. */
export interface ExportOnnxOptions {
  /**
   * Types of the weights. Each has its own files, with the names that transformers.js expects. fp16 is converted to fp32
   * when it is loaded: half the size, the same speed. q8 computes matrix products with 8-bit weights. Default fp32.
   */
  dtypes?: readonly OnnxDtype[];
}

/**
 * Writes a model for ONNX Runtime and transformers.js to a new folder: configuration, tokenizer and processor, and in
 * `onnx` the models `vision_encoder`, `embed_tokens`, `encoder_model` and `decoder_model_merged`. The network is not run,
 * so that any backend will do.
 *
 * @param florence a `Florence2`
 * @throws UsageError while an adapter is active that is not merged, for separate embeddings of prompts and answers, and
 *   for a folder that contains files; Florence2Error if the folder cannot be written
 */
export async function exportOnnx(
  florence: CheckpointParts,
  folder: string,
  options: ExportOnnxOptions = {},
): Promise<void> {
  checkKind('The folder of the export', folder, text);
  checkOptions('exportOnnx', options, { dtypes: listOf(oneOf('fp32', 'fp16', 'q8'), 'fp32, fp16 or q8') });
  const dtypes = new Set<OnnxDtype>(options.dtypes ?? ['fp32']);
  if (dtypes.size === 0) throw new UsageError('dtypes must name at least one of fp32, fp16 and q8.');
  const { model, preprocessor } = florence;
  if (model.adaptation.layers.size > 0) {
    throw new UsageError('An adapter is active that is not merged: call adapters.merge() first.');
  }
  if (model.languageModel.answers.weight.loaded) {
    throw new UsageError(
      'The model has separate embeddings for prompts and answers, which transformers.js looks up in one table.',
    );
  }
  await writeNewFolder(folder, async unfinished => {
    await writeSettings(florence, unfinished);
    const models = openFolder(join(unfinished, 'onnx'));
    for (const dtype of dtypes) await writeModels(model, preprocessor, dtype, models);
  });
}

/** Writes the four models of a network for images of one size. */
export async function writeModels(model: Florence2Model, size: Size, dtype: OnnxDtype, to: Folder): Promise<void> {
  const loaded = [...model.parameters.values()].filter(parameter => parameter.loaded);
  const names = new Map(loaded.map(({ value, name }) => [value, name]));
  const tooLarge = dtype === 'fp16' ? await beyondHalf([...names.keys()]) : new Set<tf.Tensor>();
  const models: Record<string, (weights: OnnxWeights) => OnnxModel> = {
    vision_encoder: weights => visionEncoder(model, weights, size),
    embed_tokens: weights => embedTokens(model, weights),
    encoder_model: weights => encoderModel(model, weights),
    decoder_model_merged: weights => decoderModel(model, weights),
  };
  for (const [name, build] of Object.entries(models)) {
    const file = `${name}${SUFFIXES[dtype]}.onnx`;
    const { graph, weights } = build(new OnnxWeights(names, dtype, tooLarge));
    const files = onnxFiles(graph, weights, `${file}_data`);
    await to.write(file, files.graph);
    await to.write(`${file}_data`, files.weights);
  }
}

/** What transformers.js appends to the names of the models. */
const SUFFIXES: Record<OnnxDtype, string> = { fp32: '', fp16: '_fp16', q8: '_quantized' };

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
