import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type * as tf from '@tensorflow/tfjs';
import { difference, download } from '../activations/activation.ts';
import { Adapters } from '../adapters/adapters.ts';
import { readAdapter } from '../adapters/read.ts';
import { Florence2Error } from '../errors.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import type { Parameter } from '../nn/params.ts';
import { openFolder } from '../platform/node.ts';
import { openSafetensors } from '../weights/safetensors_file.ts';
import type { NotCompared, TrainingRow } from './report.ts';
import { inputLogits, type Subject } from './subject.ts';
import { readDumped } from './tensors.ts';
import { LOGITS } from './tolerance.ts';
import { readRecord, type TrainingRecord } from './training_record.ts';
import {
  type Dumped,
  gradientRows,
  type Place,
  stepRows,
  type TrainingOutcome,
  trainingRow,
  withDump,
} from './training_rows.ts';
import { takeSteps, untrainableReason, withTrainingSetup } from './training_steps.ts';

/** Folders of PyTorch's adapter, named after the model whose module names it has: transformers' or Microsoft's. */
const SPELLINGS = ['hf', 'microsoft'];

/** True for the file of an adapter before training. */
export const isInitialAdapter = (file: string): boolean => /^lora\/[^/]+\/init\.safetensors$/.test(file);

/**
 * Compares a folder of lora/. For the adapter that PyTorch trained: logits with the adapter active and merged. For an
 * adapter trained here from PyTorch's initial values: the gradients of the first step, losses, gradient norms, and the
 * logits after the last step.
 */
export async function checkLoraTraining(subject: Subject, folder: string): Promise<TrainingOutcome> {
  const file = `${folder}/expected.safetensors`;
  const { manifest } = subject;
  if (!manifest.files.has(file)) {
    throw new Florence2Error(
      `${join(manifest.folder, 'manifest.json')}: files has no ${file}, which ${folder} requires.`,
    );
  }
  const record = await readRecord(manifest.folder, folder);
  const rows: TrainingRow[] = [];
  const leftOut: NotCompared[] = [];
  await withDump(subject, file, record.roundingNoise, async dumped => {
    rows.push(...(await logitsRow(subject, { file, what: 'logits' }, dumped, 'logits_base', LOGITS.base)));
    for (const spelling of SPELLINGS) {
      const adapter = join(manifest.folder, folder, spelling);
      if (existsSync(adapter)) rows.push(...(await givenAdapter(subject, file, dumped, adapter, spelling)));
    }
    const trained = await trainedAdapter(subject, file, dumped, folder, record);
    rows.push(...trained.rows);
    leftOut.push(...trained.leftOut);
  });
  return { rows, leftOut };
}

/** Compares the logits with the adapter that PyTorch trained. */
async function givenAdapter(
  subject: Subject,
  file: string,
  dumped: Dumped,
  adapter: string,
  spelling: string,
): Promise<TrainingRow[]> {
  const adapters = new Adapters(subject.model);
  const place = { file, what: `logits of ${spelling}/` };
  const compare = (name: string) => logitsRow(subject, place, dumped, name, LOGITS.given);
  try {
    await adapters.load(adapter);
    const on = await compare('logits_adapter');
    adapters.merge();
    const merged = await compare('logits_merged');
    const tied = await withTiedHead(subject.model, () => compare('logits_merged_peft_tied'));
    return [...on, ...merged, ...tied];
  } finally {
    adapters.dispose();
  }
}

/** Runs `body` with the merged output layer as embeddings: PEFT changes both if they are tied. */
async function withTiedHead<T>(model: Florence2Model, body: () => Promise<T>): Promise<T> {
  const { adaptation, lmHead, languageModel } = model;
  const { layers, parameters } = adaptation;
  const head = parameters.get(lmHead.weight.name);
  const { name } = languageModel.shared.weight;
  model.adapt({ layers, parameters: head ? new Map([...parameters, [name, head]]) : parameters });
  try {
    return await body();
  } finally {
    model.adapt(adaptation);
  }
}

/** Trains the adapter from PyTorch's initial values, and compares the training and the logits after it. */
async function trainedAdapter(
  subject: Subject,
  file: string,
  dumped: Dumped,
  folder: string,
  record: TrainingRecord,
): Promise<TrainingOutcome> {
  const { model, manifest } = subject;
  const path = (name: string): string => join(manifest.folder, folder, name);
  const gradients = { ...dumped, tensors: dumped.tensors.filter(({ name }) => name.startsWith('grad.')) };
  const adapters = new Adapters(model);
  try {
    const lora = await readAdapter(model, openFolder(path('hf')), await openSafetensors(path('init.safetensors')));
    adapters.add('init', lora);
    const reason = untrainableReason(lora.parameters);
    if (reason) {
      const names = [...gradients.tensors.map(({ name }) => name), 'logits after training here'];
      const losses = { file: record.file, names: ['losses', 'gradient norms'], reason };
      return { rows: [], leftOut: [losses, { file, names, reason }] };
    }
    return await withTrainingSetup(subject, lora.parameters, async setup => {
      const rows: TrainingRow[] = [];
      const compareGradients = async (found: Map<Parameter, tf.Tensor>): Promise<void> => {
        rows.push(...(await gradientRows({ file, what: 'gradients' }, gradients, lora.parameters, found)));
      };
      const compareLogits = async (): Promise<void> => {
        const place = { file, what: 'logits, trained here' };
        rows.push(...(await logitsRow(subject, place, dumped, 'logits_adapter', LOGITS.trained)));
      };
      const values = await takeSteps(setup, record, compareGradients, compareLogits);
      return { rows: [...stepRows(values, record), ...rows], leftOut: [] };
    });
  } finally {
    adapters.dispose();
  }
}

/** Compares the logits of the inputs with a tensor of the dump. Returns no row if the dump lacks it. */
async function logitsRow(
  subject: Subject,
  place: Place,
  { dump, tensors }: Dumped,
  name: string,
  tolerance: number,
): Promise<TrainingRow[]> {
  const tensor = tensors.find(tensor => tensor.name === name);
  if (!tensor) return [];
  const { values, shape } = await download(await inputLogits(subject));
  const want = await readDumped(dump, tensor);
  if (shape.join() !== tensor.shape.join()) {
    return [trainingRow(place, name, Infinity, tolerance, `has shape [${shape}], expected [${tensor.shape}]`)];
  }
  return [trainingRow(place, name, difference(values, want).maxAbs, tolerance)];
}
