/**
 * The public names that browsers and Node share. In browsers it is the whole package: it reaches no Node module, and
 * bundlers replace the modules that package.json lists under "browser".
 */

/** The TensorFlow.js instance that models compute with. Hooks must use this one: a second copy has its own tensors. */
export * as tf from '@tensorflow/tfjs';
export { ActivationCache, type ActivationPart } from './activations/cache.ts';
export type { NetworkPart } from './activations/short_names.ts';
export { type AdapterChoice, Adapters, type LoadAdapterOptions } from './adapters/adapters.ts';
export {
  createLora,
  Lora,
  type LoraBias,
  type LoraInit,
  type LoraOptions,
  type LoraSettings,
} from './adapters/lora.ts';
export { LoraEmbedding, LoraLayer } from './adapters/lora_layers.ts';
export { defaultTargets, type TargetOptions } from './adapters/target_modules.ts';
export type { SaveAdapterOptions } from './adapters/write.ts';
export type { Florence2Parts, LoadOptions, Progress } from './checkpoint/load.ts';
export type { CheckpointLayout } from './checkpoint/stored_tensors.ts';
export type { SaveOptions } from './checkpoint/write.ts';
export type { GenerationConfig } from './config/generation.ts';
export type { Florence2Config, TextConfig, VisionConfig } from './config/model.ts';
export type { PreprocessorConfig } from './config/preprocessor.ts';
export { oversample } from './datasets/classes.ts';
export { collectDataset, type ImageTarget } from './datasets/collect.ts';
export type { Dataset, SourcedTarget, Target, TrainingExample } from './datasets/example.ts';
export { withNegatives } from './datasets/negatives.ts';
export type { DatasetProblem, ProblemHandler, ReadOptions, Split } from './datasets/reading.ts';
export type { Heatmap, HeatmapOptions } from './drawing/heatmap.ts';
export type { DrawOptions } from './drawing/scene.ts';
export { ERROR_CODES, type ErrorCode, type ErrorDetails, Florence2Error, UsageError } from './errors.ts';
export { answerOutcomes, type CalibrateOptions, calibrate } from './evaluation/calibrate.ts';
export { auroc, expectedCalibrationError, type Outcome } from './evaluation/confidence.ts';
export { evaluate, type TaskEvaluation } from './evaluation/evaluate.ts';
export { Evaluator, type EvaluatorOptions } from './evaluation/evaluator.ts';
export { evaluatePredictions, type PredictionOptions } from './evaluation/predictions.ts';
export { Florence2 } from './florence2.ts';
export type { Constrain } from './generation/constraint.ts';
export type { GeneratedSequence } from './generation/decoding.ts';
export type { GenerationOptions } from './generation/options.ts';
export type { StreamedToken } from './generation/stream.ts';
export { boxIou, maskIou } from './geometry/iou.ts';
export { type Mask, maskArea, maskBounds, polygonsToMask } from './geometry/masks.ts';
export { compressCounts, decodeRle, decompressCounts, encodeRle, type RunLengths } from './geometry/rle.ts';
export type * from './geometry/types.ts';
export {
  type HookFilter,
  type HookFn,
  type HookOptions,
  type HookPoint,
  HookRegistry,
  type Hooks,
  noHooks,
  type ScopedHook,
  type StepFilter,
} from './hooks/hooks.ts';
export { decodeImage } from './image/decode.ts';
export { ImageFeatures } from './image/features.ts';
export { type PixelValues, preprocess, toTensor } from './image/preprocess.ts';
export { resizeBicubic } from './image/resize.ts';
export type { DecodeOptions, ImageInput, RawImage } from './image/types.ts';
export { collectReport, type InspectOptions } from './inspect/collect.ts';
export type { Report } from './inspect/report.ts';
export { ablate, meanAblation, meanActivation, resampleAblation, zeroAblation } from './internals/ablation.ts';
export { attentionLabels, overImage, type WeightsOverImage } from './internals/attention_labels.ts';
export {
  type AttentionKind,
  type AttentionLabels,
  type AttentionLayer,
  type AttentionMap,
  type AttentionOptions,
  attention,
  attentionPoints,
} from './internals/attention_maps.ts';
export { attributionPatch } from './internals/attribution.ts';
export { type FeatureOptions, FeatureReader } from './internals/feature_reader.ts';
export { captureForced, type ForcedOptions, forcedLogits } from './internals/forced_pass.ts';
export { gradientRelevance } from './internals/gradient_relevance.ts';
export { gradientsAt } from './internals/gradients_at.ts';
export { type HeadWeights, headWeights } from './internals/head_weights.ts';
export { type HookPointShape, hookPoints } from './internals/hook_points.ts';
export type { Replacement } from './internals/intervention.ts';
export { type LogitAttribution, type LogitParts, lastLayerAttribution } from './internals/last_layer.ts';
export {
  alternatives,
  type LensLayer,
  type LensOptions,
  type LensReading,
  lensLogits,
  logitLens,
} from './internals/logit_lens.ts';
export { answerLogProb, logitDifference, logitOf, type Metric, type RowMetric } from './internals/logit_metrics.ts';
export {
  type AblationGrid,
  ablationSweep,
  type Grid,
  type PatchBaselines,
  type PatchGrid,
  type PatchSubject,
  patch,
  patchSweep,
  type SweepOptions,
  type SweepPlan,
} from './internals/patching.ts';
export type { Prediction, TokenProbability } from './internals/predictions.ts';
export { type PassStart, Question, type QuestionOptions } from './internals/question.ts';
export { encoderRollout, type RolloutOptions, rollout, tokenRelevance } from './internals/rollout.ts';
export {
  type GradCamOptions,
  gradCam,
  gradCamMap,
  gradientTimesInput,
  type IntegratedGradients,
  type IntegratedGradientsOptions,
  inputGradients,
  integratedGradients,
} from './internals/saliency.ts';
export type { Site } from './internals/site.ts';
export { steer, steeringVector } from './internals/steering.ts';
export { denseWindowAttention, type WindowAttentionMap, windowAttentionFrom } from './internals/window_maps.ts';
export { LayerCache } from './language/cache.ts';
export type { Memory } from './language/decoder.ts';
export { Florence2Model } from './model/florence2_model.ts';
export type {
  CacheOptions,
  CallOptions,
  EncodeOptions,
  Request,
  ResultsOf,
  RunOptions,
  TaskOptions,
  TaskText,
} from './requests.ts';
export { type Calibration, type CalibrationCurve, writeCalibration } from './results/calibration.ts';
export { filterByLabel, filterByScore } from './results/filter.ts';
export { checkAnswer, formatAnswer, parseAnswer, type TypedAnswer } from './results/format.ts';
export { type TextPage, toAlto, toHocr } from './results/layout/documents.ts';
export {
  layoutText,
  readingOrder,
  type TextBlock,
  type TextLayout,
  type TextLine,
} from './results/layout/reading_order.ts';
export type { Answer, AnswerTokens } from './results/parse/answer.ts';
export { type ParseOptions, parse } from './results/parse/parse.ts';
export { type SemanticMap, semanticMap } from './results/semantic.ts';
export type * from './results/types.ts';
export { type BackendChoice, type BackendName, type BackendOptions, useBackend } from './runtime/backend.ts';
export {
  binsToTokens,
  boxesToText,
  boxToTokens,
  dequantizeBox,
  dequantizePoints,
  pointsToTokens,
  quantizeBox,
  quantizePoints,
} from './text/locations.ts';
export { type ArgumentsOf, type TaskArguments, taskText } from './text/prompt.ts';
export {
  constructPrompt,
  findTask,
  resolveTask,
  suggestTask,
  TASKS,
  type Task,
  type TaskInfo,
  type TaskName,
  taskInfo,
} from './text/tasks.ts';
export { Tokenizer } from './text/tokenizer.ts';
export { type MergedObject, type MergeOptions, mergeSightings, type Sighting } from './tiling/merge.ts';
export { mergeResults, type View } from './tiling/merge_results.ts';
export { runTiled, type TiledModel, type TiledRequest } from './tiling/run_tiled.ts';
export { type TileOptions, tileBoxes } from './tiling/tiles.ts';
export { addTokens } from './training/add_tokens.ts';
export { type AugmentOptions, augment, type DecodedExample } from './training/augment/augment.ts';
