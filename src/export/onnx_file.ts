import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import protobuf from 'protobufjs';
import type { FileContent } from '../files/folder.ts';
import { onBackendOf } from '../nn/on_backend.ts';
import { asBytes } from '../weights/dtypes.ts';
import { elementCount } from '../weights/tensor_file.ts';
import type { Initializer, OnnxNode } from './onnx_nodes.ts';

/** ONNX's format, from https://github.com/onnx/onnx. */
const PROTO = fileURLToPath(new URL('../../src/export/onnx.proto', import.meta.url));

/** An input or output of a graph. Sizes that vary have names. */
export interface OnnxValue {
  readonly name: string;
  /** FLOAT 1, INT64 7, BOOL 9. */
  readonly type: number;
  readonly dims: readonly (number | string)[];
}

export interface OnnxGraph {
  readonly name: string;
  readonly node: readonly OnnxNode[];
  readonly input: readonly OnnxValue[];
  readonly output: readonly OnnxValue[];
}

/** Version of ONNX's operators; 20 added Gelu. */
const OPSET = 20;
/** Version of the format that goes with it. */
const IR_VERSION = 9;
const ALIGNMENT = 64;

/**
 * Returns the two files of a model: the graph, and its weights, which are read from their backend one by one while the
 * file is written.
 *
 * @param weightsFile name of the second file, in the folder of the first
 */
export function onnxFiles(
  graph: OnnxGraph,
  initializers: ReadonlyMap<string, Initializer>,
  weightsFile: string,
): { graph: Uint8Array; weights: FileContent } {
  const external: ExternalTensor[] = [];
  let end = 0;
  const tensors = [...initializers.values()].map(initializer => {
    const { name, dims } = initializer;
    if ('values' in initializer) {
      const dataType = initializer.values instanceof Float32Array ? 1 : 7;
      return { name, dims, dataType, rawData: asBytes(initializer.values) };
    }
    const offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    const length = 4 * elementCount([...dims]);
    end = offset + length;
    external.push({ tensor: initializer.weight, order: initializer.order, offset });
    const externalData = Object.entries({ location: weightsFile, offset, length });
    return {
      ...{ name, dims, dataType: 1, dataLocation: 1 },
      externalData: externalData.map(([key, value]) => ({ key, value: String(value) })),
    };
  });
  const type = protobuf.parse(readFileSync(PROTO, 'utf8')).root.lookupType('onnx.ModelProto');
  const model = {
    ...{ irVersion: IR_VERSION, producerName: 'florence2-tfjs', opsetImport: [{ domain: '', version: OPSET }] },
    graph: { ...graphMessage(graph), initializer: tensors },
  };
  return { graph: type.encode(type.create(model)).finish(), weights: content(external) };
}

/** Returns a graph as a message, without initializers: as it is inside a node. */
export const graphMessage = ({ name, node, input, output }: OnnxGraph): object => ({
  ...{ name, node, input: input.map(valueMessage), output: output.map(valueMessage) },
});

const valueMessage = ({ name, type, dims }: OnnxValue): object => {
  const dim = dims.map(size => (typeof size === 'number' ? { dimValue: size } : { dimParam: size }));
  return { name, type: { tensorType: { elemType: type, shape: { dim } } } };
};

interface ExternalTensor {
  readonly tensor: tf.Tensor;
  readonly order: readonly number[] | null;
  readonly offset: number;
}

async function* content(tensors: readonly ExternalTensor[]): AsyncGenerator<Uint8Array> {
  let position = 0;
  for (const { tensor, order, offset } of tensors) {
    if (offset > position) yield new Uint8Array(offset - position);
    position = offset;
    for await (const bytes of parts(tensor, order)) {
      yield bytes;
      position += bytes.length;
    }
  }
}

/** Largest part of a tensor that is copied at a time, in bytes: a table of embeddings of base has 157 MB. */
const MOST_BYTES = 16 << 20;

/** Yields the values of a tensor with its axes in another order, in parts along the first of them. */
async function* parts(tensor: tf.Tensor, order: readonly number[] | null): AsyncGenerator<Uint8Array> {
  const axis = order?.[0] ?? 0;
  const rows = tensor.shape[axis];
  const rowBytes = (4 * tensor.size) / rows;
  const count = Math.max(1, Math.floor(MOST_BYTES / rowBytes));
  for (let from = 0; from < rows; from += count) {
    const begin = tensor.shape.map((_, other) => (other === axis ? from : 0));
    const size = tensor.shape.map((whole, other) => (other === axis ? Math.min(count, rows - from) : whole));
    const part = onBackendOf(tensor, () =>
      tf.tidy(() => {
        const rows = tf.slice(tensor, begin, size);
        return order ? tf.transpose(rows, [...order]) : rows;
      }),
    );
    yield asBytes((await part.data().finally(() => part.dispose())) as Float32Array);
  }
}
