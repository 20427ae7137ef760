import * as tf from '@tensorflow/tfjs';
import { noHooks } from '../hooks/hooks.ts';
import { paddingMask } from '../language/attention.ts';
import { LayerCache, pairs } from '../language/cache.ts';
import { POSITION_OFFSET } from '../language/encoder.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import type { DType, TensorSpec } from '../runtime/graph/nodes.ts';
import { rewrite } from '../runtime/graph/patterns.ts';
import { unify } from '../runtime/graph/unify.ts';
import { graphMessage, type OnnxGraph, type OnnxValue } from './onnx_file.ts';
import { linearOfRows, ONNX_TYPES, OnnxNodes } from './onnx_nodes.ts';
import type { OnnxWeights } from './onnx_weights.ts';
import { trace } from './trace.ts';

/** A model of an export: its graph and its constants. */
export interface OnnxModel {
  readonly graph: OnnxGraph;
  readonly weights: OnnxWeights;
}

/** An input of a pass. Sizes that vary have names. */
interface Input {
  readonly name: string;
  readonly dims: readonly (number | string)[];
  readonly dtype?: DType;
}

/** Two sizes for each name, different from each other, so that the axes of an output are recognised. */
const SIZES: Record<string, readonly [number, number]> = {
  batch_size: [2, 3],
  sequence_length: [5, 7],
  encoder_sequence_length: [11, 13],
  past_decoder_sequence_length: [17, 19],
};
const B = 'batch_size';
const T = 'sequence_length';
const S = 'encoder_sequence_length';
const P = 'past_decoder_sequence_length';

/** Height and width of images in pixels. */
export interface Size {
  readonly height: number;
  readonly width: number;
}

/** Pixels [B, 3, H, W] -> image features [B, 1 + N, D] */
export function visionEncoder(model: Florence2Model, weights: OnnxWeights, { height, width }: Size): OnnxModel {
  const { visionTower, multiModalProjector } = model;
  const pass = (pixels: tf.Tensor) => {
    const maps = visionTower.forward(tf.transpose(pixels, [0, 2, 3, 1]) as tf.Tensor4D, noHooks);
    return [multiModalProjector.forward(maps, noHooks)];
  };
  const inputs = [{ name: 'pixel_values', dims: [B, 3, height, width] }];
  return new Exporter(weights).model('vision_encoder', pass, inputs, ['image_features']);
}

/** Ids [B, T] -> embeddings [B, T, D] */
export function embedTokens(model: Florence2Model, weights: OnnxWeights): OnnxModel {
  const pass = (ids: tf.Tensor) => [model.languageModel.embedPrompt(ids as tf.Tensor2D)];
  const inputs: Input[] = [{ name: 'input_ids', dims: [B, T], dtype: 'int32' }];
  return new Exporter(weights).model('embed_tokens', pass, inputs, ['inputs_embeds']);
}

/** Embeddings of image and prompt [B, S, D], and their mask [B, S] -> hidden states [B, S, D] */
export function encoderModel(model: Florence2Model, weights: OnnxWeights): OnnxModel {
  const { encoder } = model.languageModel;
  const { dModel } = model.config.text;
  const pass = (embeds: tf.Tensor, mask: tf.Tensor, positions: tf.Tensor) => [
    encoder.encode(embeds as tf.Tensor3D, () => positions as tf.Tensor2D, paddingMask(mask as tf.Tensor2D), noHooks),
  ];
  const inputs: Input[] = [
    { name: 'inputs_embeds', dims: [B, S, dModel] },
    { name: 'attention_mask', dims: [B, S], dtype: 'int32' },
    { name: POSITIONS, dims: [S, dModel] },
  ];
  return new Exporter(weights).model('encoder_model', pass, inputs, ['last_hidden_state'], graph => {
    const length = graph.add('Gather', [graph.add('Shape', ['inputs_embeds']), graph.integers([1])]);
    const end = graph.add('Add', [length, graph.integers([POSITION_OFFSET])]);
    const table = graph.weights.float(encoder.embedPositions.weight.value);
    return graph.add('Slice', [table, graph.integers([POSITION_OFFSET]), end, graph.integers([0])]);
  });
}

/**
 * One step of the decoder: the embedding of a token [B, 1, D], the encoder's output and its mask -> logits [B, 1, V], and
 * the cache with the token. `use_cache_branch` is false in the first step, which computes the keys and values of
 * cross-attention.
 */
export function decoderModel(model: Florence2Model, weights: OnnxWeights): OnnxModel {
  const { decoder } = model.languageModel;
  const { dModel, vocabSize, decoderAttentionHeads: heads, decoderLayers } = model.config.text;
  const caches = (part: string, length: string): Input[] =>
    Array.from({ length: decoderLayers }, (_, i) => i).flatMap(i =>
      ['key', 'value'].map(what => ({ name: `${i}.${part}.${what}`, dims: [B, heads, length, dModel / heads] })),
    );
  const named = (prefix: string, inputs: Input[]): Input[] =>
    inputs.map(input => ({ ...input, name: `${prefix}.${input.name}` }));
  const [own, cross] = [caches('decoder', P), caches('encoder', S)];
  const token: Input = { name: 'inputs_embeds', dims: [B, 1, dModel] };
  const states: Input = { name: 'encoder_hidden_states', dims: [B, S, dModel] };
  const mask: Input = { name: 'encoder_attention_mask', dims: [B, S], dtype: 'int32' };
  const past = [...named('past_key_values', own), ...named('past_key_values', cross)];

  const step = (token: tf.Tensor, mask: tf.Tensor, positions: tf.Tensor2D, caches: LayerCache[]): tf.Tensor[] => {
    const embeds = token as tf.Tensor3D;
    const memory = { states: embeds, mask: paddingMask(mask as tf.Tensor2D) }; // their keys are in the caches
    const hidden = decoder.decode(embeds, () => positions, memory, caches, noHooks);
    const logits = model.lmHead.forward(hidden, noHooks);
    const grown = caches.flatMap(({ parts }) => [tf.clone(parts.recent!.key), tf.clone(parts.recent!.value)]);
    for (const cache of caches) cache.dispose();
    return [logits, ...grown];
  };
  const first = (token: tf.Tensor, states: tf.Tensor, mask: tf.Tensor): tf.Tensor[] => {
    const cross = decoder.memoryKeys(states as tf.Tensor3D, noHooks);
    const outputs = cross.flatMap(({ key, value }) => [tf.clone(key), tf.clone(value)]);
    return [
      ...step(
        token,
        mask,
        decoder.positions(0, 1),
        cross.map(keys => new LayerCache(keys)),
      ),
      ...outputs,
    ];
  };
  const later = (token: tf.Tensor, mask: tf.Tensor, positions: tf.Tensor, ...rest: tf.Tensor[]): tf.Tensor[] => {
    const [own, cross] = [pairs(rest.slice(0, 2 * decoderLayers)), pairs(rest.slice(2 * decoderLayers))];
    const caches = cross.map((keys, i) => new LayerCache(keys, own[i]));
    return step(token, mask, positions as tf.Tensor2D, caches);
  };

  const exporter = new Exporter(weights);
  const [ownNames, crossNames] = [own, cross].map(inputs => named('present', inputs).map(({ name }) => name));
  const outputs = ['logits', ...ownNames, ...crossNames];
  const position = { name: POSITIONS, dims: [1, dModel] };
  const laterGraph = exporter.nodes('later', later, [token, mask, position, ...past], graph => {
    const shape = graph.add('Shape', [past[0].name]);
    const row = graph.add('Add', [
      graph.add('Gather', [shape, graph.integers([2])]),
      graph.integers([POSITION_OFFSET]),
    ]);
    return graph.add('Gather', [graph.weights.float(decoder.embedPositions.weight.value), row]);
  });
  // transformers.js keeps the keys and values of the first step, and does not read these outputs of later ones.
  const nothing = weights.constant([0, heads, 1, dModel / heads], new Float32Array());
  const none = cross.map(() => nothing);
  const branches = [
    { graph: laterGraph.graph, made: [...laterGraph.outputs, ...none] },
    (({ graph, outputs }) => ({ graph, made: outputs }))(exporter.nodes('first', first, [token, states, mask])),
  ];
  const [then, otherwise] = branches.map(({ graph, made }, i) => {
    const names = made.map((name, o) => graph.add('Identity', [name], [], `${outputs[o]}/${i}`));
    const values = names.map((name, o) => ({
      name,
      type: 1,
      dims: o === 0 ? [B, 1, vocabSize] : ['', heads, '', dModel / heads],
    }));
    return graphMessage({ name: `branch_${i}`, node: graph.nodes, input: [], output: values });
  });
  const node = {
    ...{ opType: 'If', input: ['use_cache_branch'], output: outputs },
    attribute: [
      { name: 'then_branch', type: 5, g: then },
      { name: 'else_branch', type: 5, g: otherwise },
    ],
  };
  const graph: OnnxGraph = {
    name: 'decoder_model_merged',
    node: [node],
    input: [...[mask, states, token, ...past].map(declared), { name: 'use_cache_branch', type: 9, dims: [1] }],
    output: outputs.map((name, o) => {
      const length = o <= ownNames.length ? `${P} + 1` : S;
      return { name, type: 1, dims: o === 0 ? [B, 1, vocabSize] : [B, heads, length, dModel / heads] };
    }),
  };
  return { graph, weights };
}

/** Name of the input for rows of a table of positions, which the graph computes from the sizes of others. */
const POSITIONS = 'positions';

type Pass = (...inputs: tf.Tensor[]) => readonly tf.Tensor[];

/** Traces passes of a network into graphs that share their weights. */
class Exporter {
  constructor(private readonly weights: OnnxWeights) {}

  /** Returns a model of one pass. */
  model(
    name: string,
    pass: Pass,
    inputs: readonly Input[],
    names: readonly string[],
    positions?: Positions,
  ): OnnxModel {
    const { graph, outputs, dims } = this.nodes('', pass, inputs, positions);
    outputs.forEach((output, i) => void graph.add('Identity', [output], [], names[i]));
    const output = names.map((name, i) => ({ name, type: 1, dims: dims[i] }));
    const input = inputs.filter(({ name }) => name !== POSITIONS).map(declared);
    return { graph: { name, node: graph.nodes, input, output }, weights: this.weights };
  }

  /**
   * Returns the nodes of a pass, and the names and sizes of its outputs.
   *
   * @param positions adds the nodes that compute the input `POSITIONS`, and returns their name
   */
  nodes(prefix: string, pass: Pass, inputs: readonly Input[], positions?: Positions) {
    const specs = ([0, 1] as const).map(i => inputs.map(input => specOf(input, i)));
    const [a, b] = specs.map(specs => {
      const recording = trace(pass, specs, this.weights.tensors);
      return { ...recording, outputs: rewrite(recording.outputs, [linearOfRows]) };
    });
    const { inputs: nodes, outputs, captured } = unify(a, b, true);
    const graph = new OnnxNodes(`${prefix}/`, this.weights);
    for (const [tensor, node] of captured) graph.capture(node, tensor);
    nodes.forEach((node, i) => {
      const { name } = inputs[i];
      graph.name(node, name === POSITIONS ? positions!(graph) : name);
    });
    const dims = outputs.map(({ node, index }, o) =>
      node.outputs[index].shape.map((size, axis) =>
        size === -1 ? nameOfSize(a.outputs[o].node.outputs[a.outputs[o].index].shape[axis]) : size,
      ),
    );
    return { graph, outputs: outputs.map(output => graph.nameOf(output)), dims };
  }
}

type Positions = (graph: OnnxNodes) => string;

const nameOfSize = (size: number): string => Object.keys(SIZES).find(name => SIZES[name][0] === size) ?? '';

const specOf = ({ dims, dtype = 'float32' }: Input, i: 0 | 1): TensorSpec => ({
  shape: dims.map(size => (typeof size === 'number' ? size : SIZES[size][i])),
  dtype,
});

const declared = ({ name, dims, dtype = 'float32' }: Input): OnnxValue => ({ name, type: ONNX_TYPES[dtype]!, dims });
