import * as tf from '@tensorflow/tfjs';
import { type Activation, download } from '../activations/activation.ts';
import { ActivationCache } from '../activations/cache.ts';
import { dumpPoint, toDumpLayout } from '../activations/dump_names.ts';
import { Capture } from '../hooks/capture.ts';
import type { HookRegistry } from '../hooks/hooks.ts';
import type { LayerCache } from '../language/cache.ts';
import type { SafetensorsFile } from '../weights/safetensors.ts';
import type { DumpedTensor } from './manifest.ts';
import { type EncodedSubject, encodePrompts, forcedLogits, readIds, readPixels } from './subject.ts';

/** A tensor computed by the network, in the dump's layout; or why this checkpoint does not compute it. */
export type Computed = Activation | { readonly skipped: string };

/** Runs the network for one file of the dump, and returns the tensors of that file by name. */
type Pass = (subject: EncodedSubject, dump: SafetensorsFile, wanted: DumpedTensor[]) => Promise<Map<string, Computed>>;

/** Tensors of the dumps that are inputs of the network. */
export const INPUTS: ReadonlySet<string> = new Set(['pixel_values', 'final_logits_bias']);

/** The passes that compute the files of a reference folder. Files about training are not among them. */
export const PASSES: Readonly<Record<string, Pass>> = {
  'vision.safetensors': visionPass,
  'text.safetensors': textPass,
  'nonsquare.safetensors': visionPass,
  'cache.safetensors': cachePass,
  'extra.safetensors': extraPass,
};

/** Computes every point of the vision tower and the projector, from the images in the file if it has some. */
async function visionPass({ model, inputs, hooks }: EncodedSubject, dump: SafetensorsFile, wanted: DumpedTensor[]) {
  const pixels = await readPixels(dump.tensors.has('pixel_values') ? dump : inputs);
  const capture = new PointCapture(hooks, pointsOf(wanted));
  try {
    tf.dispose(model.encodeImage(pixels, capture.hooks.root()));
    return await takeAll(capture, wanted);
  } finally {
    capture.dispose();
    pixels.dispose();
  }
}

/** Computes encoder and decoder under teacher forcing, the logits with padding masked and attended, and the losses. */
async function textPass(subject: EncodedSubject, _dump: SafetensorsFile, wanted: DumpedTensor[]) {
  const { model, inputs, manifest } = subject;
  const capture = new PointCapture(subject.hooks, pointsOf(wanted));
  let computed: Map<string, Computed>;
  let masked: Activation;
  try {
    const hooked = { ...subject, hooks: capture.hooks };
    const logits = await forcedLogits(hooked, await encodePrompts(hooked, true)); // [B, T, V]
    computed = await takeAll(capture, wanted);
    masked = await download(logits);
  } finally {
    capture.dispose();
  }
  const attended = await download(await forcedLogits(subject, await encodePrompts(subject, false))); // [B, T, V]
  computed.set('logits_nomask', attended);

  const labels = await inputs.readInt32('labels');
  const paddedLabels = labels.map(label => (label === IGNORED_LABEL ? model.config.text.padTokenId : label));
  const dumpedRows = wanted.find(({ name }) => name === 'logits')?.shape.at(-1);
  const ownRows = model.config.text.vocabSize;
  const loss = (logits: Activation, targets: Int32Array): Computed =>
    dumpedRows === undefined || dumpedRows === ownRows
      ? scalar(meanCrossEntropy(logits, targets))
      : { skipped: `computed over ${dumpedRows} rows of vocabulary, but this checkpoint has ${ownRows}` };
  computed.set('loss', loss(masked, labels));
  computed.set('loss_nomask', loss(attended, labels));
  computed.set('loss_padlabels', loss(masked, paddedLabels));
  const { microsoftVocab } = manifest;
  if (microsoftVocab) computed.set('loss_ms_vocab', scalar(meanCrossEntropy(masked, labels, microsoftVocab)));
  return computed;
}

/** Runs the decoder token by token: the keys and values of the caches and the logits after each step. */
async function cachePass(subject: EncodedSubject, _dump: SafetensorsFile, wanted: DumpedTensor[]) {
  const { model, inputs, hooks } = subject;
  const { decoder } = model.languageModel;
  const computed = new Map<string, Computed>();
  const steps = Math.max(0, ...wanted.map(({ name }) => 1 + Number(/^step(\d+)\./.exec(name)?.[1] ?? -1)));
  const ids = await readIds(inputs, 'decoder_input_ids'); // [B, T]
  const memory = await encodePrompts(subject, true);
  let caches: LayerCache[] = [];
  const put = async (name: string, tensor: tf.Tensor) => computed.set(name, await download(tensor));
  try {
    caches = decoder.newCaches(memory.states, hooks.root(0).in('language_model.decoder'));
    for (let step = 0; step < steps; step++) {
      const h = hooks.root(step);
      const logits = tf.tidy(() => {
        const embeds = model.languageModel.embedAnswer(tf.slice(ids, [0, step], [-1, 1]));
        const hidden = decoder.forward(embeds, memory, caches, h.in('language_model.decoder')); // [B, 1, D]
        return model.lmHead.forward(hidden, h);
      });
      await put(`step${step}.logits`, logits);
      for (const [i, cache] of caches.entries()) {
        const { key, value } = cache.all();
        await put(`step${step}.layer${i}.self.key`, key);
        await put(`step${step}.layer${i}.self.value`, value);
        if (step > 0) continue;
        const { cross } = cache;
        await put(`layer${i}.cross.key`, tf.clone(cross.key));
        await put(`layer${i}.cross.value`, tf.clone(cross.value));
      }
    }
    return computed;
  } finally {
    for (const cache of caches) cache.dispose();
    tf.dispose([ids, memory.states, memory.mask ?? []]);
  }
}

/** Computes the logits with a bias that is not zero. For those of rounded weights see `roundedPass`. */
async function extraPass(subject: EncodedSubject, dump: SafetensorsFile, _wanted: DumpedTensor[]) {
  const computed = new Map<string, Computed>([[ROUNDED_LOGITS, { skipped: 'computed from weights rounded to fp16' }]]);
  if (!dump.tensors.has('final_logits_bias')) return computed;
  const { finalLogitsBias } = subject.model.lmHead;
  if (!finalLogitsBias.loaded) {
    return computed.set('logits_with_bias', { skipped: 'this checkpoint has no final_logits_bias' });
  }
  const own = (await finalLogitsBias.value.data()) as Float32Array;
  finalLogitsBias.load(await dump.readFloat32('final_logits_bias'));
  try {
    const logits = await forcedLogits(subject, await encodePrompts(subject, true));
    return computed.set('logits_with_bias', await download(logits));
  } finally {
    finalLogitsBias.load(own);
  }
}

const ROUNDED_LOGITS = 'logits_fp16_weights';

/** Computes what was dumped for a checkpoint with the same weights rounded to fp16: its logits. */
export async function roundedPass(subject: EncodedSubject): Promise<Map<string, Computed>> {
  const logits = await forcedLogits(subject, await encodePrompts(subject, true));
  return new Map([[ROUNDED_LOGITS, await download(logits)]]);
}

/** Keeps the activations at some hook points until they are read. */
class PointCapture {
  /** The hooks to run the passes with. */
  readonly hooks: HookRegistry;
  private readonly cache = new ActivationCache();

  constructor(hooks: HookRegistry, points: string[]) {
    this.hooks = hooks.with([new Capture(points, this.cache, { readOnly: false }).hook]);
  }

  /** Returns the activation at a point, and frees it. Undefined if the model has no such point. */
  async take(point: string): Promise<Activation | undefined> {
    if (!this.cache.has(point)) return undefined;
    const activation = await this.cache.array(point);
    this.cache.drop(point);
    return activation;
  }

  dispose(): void {
    this.cache.dispose();
  }
}

function pointsOf(wanted: DumpedTensor[]): string[] {
  return wanted.flatMap(({ name }) => dumpPoint(name)?.point ?? []);
}

/** Returns the captured activations of the tensors that have a hook point, in the dump's layout. */
async function takeAll(capture: PointCapture, wanted: DumpedTensor[]): Promise<Map<string, Computed>> {
  const computed = new Map<string, Computed>();
  for (const { name, shape } of wanted) {
    const found = dumpPoint(name);
    const activation = found && (await capture.take(found.point));
    if (!activation) continue;
    const values = toDumpLayout(activation, found.layout, shape);
    computed.set(name, values ? { values, shape } : activation); // a wrong shape is reported later
  }
  return computed;
}

const scalar = (value: number): Activation => ({ values: Float32Array.of(value), shape: [1] });

/** Positions with this label are excluded from the loss. */
export const IGNORED_LABEL = -100;

/**
 * Returns the mean cross entropy of logits [..., V] with one label per row. Rows with IGNORED_LABEL are excluded.
 *
 * @param vocabSize use only the first rows of the vocabulary; default all
 */
function meanCrossEntropy({ values, shape }: Activation, labels: Int32Array, vocabSize = shape.at(-1)!): number {
  const V = shape.at(-1)!;
  let sum = 0;
  let count = 0;
  labels.forEach((label, row) => {
    if (label === IGNORED_LABEL) return;
    const logits = values.subarray(row * V, row * V + vocabSize);
    const highest = logits.reduce((max, logit) => Math.max(max, logit), -Infinity);
    const mass = logits.reduce((total, logit) => total + Math.exp(logit - highest), 0);
    sum += highest + Math.log(mass) - logits[label];
    count++;
  });
  return sum / count;
}
