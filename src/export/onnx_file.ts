import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import type { FileContent } from '../files/folder.ts';
import { asBytes } from '../weights/dtypes.ts';
import { elementCount } from '../weights/tensor_file.ts';
import { FORMATS, type OnnxNode, type OnnxWeights, type StoredWeight, storedParts } from './onnx_weights.ts';

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
  weights: OnnxWeights,
  weightsFile: string,
): { graph: Uint8Array; weights: FileContent } {
  const external: PlacedWeight[] = [];
  let end = 0;
  const tensors = [...weights.initializers.values()].map(initializer => {
    const { name, dims } = initializer;
    if ('values' in initializer) {
      const { values } = initializer;
      const dataType = values instanceof Float32Array ? 1 : values instanceof Uint8Array ? 2 : 7;
      return { name, dims, dataType, rawData: asBytes(values) };
    }
    const { weight } = initializer;
    const { type, bytes } = FORMATS[weight.format];
    const offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    const length = bytes * elementCount([...dims]);
    end = offset + length;
    external.push({ weight, offset });
    const externalData = Object.entries({ location: weightsFile, offset, length });
    return {
      ...{ name, dims, dataType: type, dataLocation: 1 },
      externalData: externalData.map(([key, value]) => ({ key, value: String(value) })),
    };
  });
  const type = protobuf.parse(readFileSync(PROTO, 'utf8')).root.lookupType('onnx.ModelProto');
  const model = {
    ...{ irVersion: IR_VERSION, producerName: 'florence2-tfjs', opsetImport: [{ domain: '', version: OPSET }] },
    graph: { ...graphMessage({ ...graph, node: [...weights.nodes, ...graph.node] }), initializer: tensors },
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

interface PlacedWeight {
  readonly weight: StoredWeight;
  readonly offset: number;
}

async function* content(weights: readonly PlacedWeight[]): AsyncGenerator<Uint8Array> {
  let position = 0;
  for (const { weight, offset } of weights) {
    if (offset > position) yield new Uint8Array(offset - position);
    position = offset;
    for await (const bytes of storedParts(weight)) {
      yield bytes;
      position += bytes.length;
    }
  }
}
