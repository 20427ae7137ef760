/** The public names in Node: those that browsers share, and what needs files. */

export * from './browser.ts';
export {
  type AnnotatedImage,
  type Annotations,
  DATASET_FORMATS,
  type DatasetFormat,
  type LabelledObject,
  type TextLine,
} from './datasets/annotation.ts';
export type { DatasetReport, ImageCheck } from './datasets/check.ts';
export { type ConvertOptions, type ConvertReport, convertDataset } from './datasets/convert.ts';
export { type Holdout, holdOut } from './datasets/holdout.ts';
export {
  type AnnotationOptions,
  type CheckOptions,
  checkDataset,
  datasetSplits,
  type OpenOptions,
  openAnnotations,
  openDataset,
} from './datasets/open.ts';
export { type LengthLimits, lengthLimits } from './datasets/tokenize.ts';
export { semanticNpy, semanticPng } from './drawing/semantic_files.ts';
export { draw, encodeMask } from './drawing/sharp.ts';
export { drawHeatmap } from './drawing/sharp_heatmap.ts';
export { type BenchmarkResult, evaluateBenchmark } from './evaluation/benchmarks.ts';
export { BENCHMARK_NAMES, type BenchmarkName } from './evaluation/published.ts';
export { type ExportOnnxOptions, exportOnnx } from './export/export_onnx.ts';
export type { OnnxDtype } from './export/onnx_weights.ts';
export { openPdf, type PdfFile } from './image/pdf.ts';
export { renderReport } from './inspect/html.ts';
export { diffRuns } from './internals/diff/compare_runs.ts';
export type {
  DiffImage,
  DiffOptions,
  DiffReport,
  DiffRow,
  ImageDiff,
  RunAnswer,
  RunSpec,
} from './internals/diff/report.ts';
export { checkParity } from './parity/check.ts';
export type {
  CheckpointReport,
  NotCompared,
  ParityOptions,
  ParityReport,
  SequenceRow,
  TensorRow,
  TrainingRow,
  VariantReport,
} from './parity/report.ts';
export type { BestValidation } from './training/best.ts';
export type { StepRecord, ValidationMeans, ValidationOutcome, ValidationRecord } from './training/log/records.ts';
export type { WeightedDataset } from './training/mixture.ts';
export type { TrainerOptions } from './training/options.ts';
export { Trainer, type TrainingSummary } from './training/trainer.ts';
