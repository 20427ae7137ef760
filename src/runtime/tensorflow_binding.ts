import type * as tf from '@tensorflow/tfjs';

/** A tensor as @tensorflow/tfjs-node's binding returns it. */
export interface TensorMetadata {
  id: number;
  shape: number[];
  dtype: number;
}

/** The part of @tensorflow/tfjs-node's backend that executes TensorFlow operations. */
export interface NodeBackend {
  binding: {
    executeOp(op: string, attributes: OpAttribute[], inputs: number[], outputs: number): TensorMetadata[];
    deleteTensor(id: number): void;
    loadSavedModel(folder: string, tags: string): number;
    deleteSavedModel(id: number): void;
    runSavedModel(id: number, tensors: number[], feeds: string, fetches: string): TensorMetadata[];
    /** TensorFlow's codes of data types and attribute types. */
    [name: string]: unknown;
  };
  tensorMap: {
    get(dataId: object): { values: Float32Array | Int32Array | Uint8Array | null } | undefined;
  };
  executeSingleOutput(op: string, attributes: OpAttribute[], inputs: tf.Tensor[]): tf.Tensor;
  executeMultipleOutputs(op: string, attributes: OpAttribute[], inputs: tf.Tensor[], count: number): tf.Tensor[];
  write(values: unknown, shape: number[], dtype: tf.DataType): object;
  createOutputTensor(metadata: TensorMetadata): tf.Tensor;
  getInputTensorIds(tensors: tf.Tensor[]): number[];
}

export interface OpAttribute {
  name: string;
  type: number;
  value: unknown;
}

/** A protocol buffer message of the classes that @tensorflow/tfjs-node contains. */
// biome-ignore lint/suspicious/noExplicitAny: generated code without types
export type Message = any;

/** TensorFlow's message classes: @tensorflow/tfjs-node/dist/proto/api_pb.js. */
export type Messages = Record<string, Message>;
