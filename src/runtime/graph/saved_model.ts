import type { Message, Messages } from '../tensorflow_binding.ts';
import type { Attribute, Constant, DType, GraphNode } from './nodes.ts';

/** Returns the bytes of `saved_model.pb`: the nodes of a graph, with their names, as a SavedModel without variables. */
export function savedModel(messages: Messages, nodes: ReadonlyMap<GraphNode, string>): Uint8Array {
  const graph = new messages.GraphDef();
  for (const [node, name] of nodes) graph.addNode(nodeDef(messages, node, name, nodes));
  const versions = new messages.VersionDef();
  versions.setProducer(GRAPH_VERSION);
  graph.setVersions(versions);
  const info = new messages.MetaGraphDef.MetaInfoDef();
  info.addTags(TAG);
  const meta = new messages.MetaGraphDef();
  meta.setMetaInfoDef(info);
  meta.setGraphDef(graph);
  const model = new messages.SavedModel();
  model.setSavedModelSchemaVersion(1);
  model.addMetaGraphs(meta);
  return model.serializeBinary();
}

export const TAG = 'serve';

/** Version of the graph format: that of TensorFlow 2.4, which 2.0 and later can read. */
const GRAPH_VERSION = 561;

function nodeDef(messages: Messages, node: GraphNode, name: string, names: ReadonlyMap<GraphNode, string>): Message {
  const message = new messages.NodeDef();
  message.setName(name);
  message.setOp(node.op);
  for (const input of node.inputs) message.addInput(`${names.get(input.node)}:${input.index}`);
  for (const attribute of node.attributes) message.getAttrMap().set(attribute.name, attrValue(messages, attribute));
  if (node.op === 'Placeholder') {
    const value = new messages.AttrValue();
    value.setShape(shapeMessage(messages, node.outputs[0].shape));
    message.getAttrMap().set('shape', value);
  }
  return message;
}

function attrValue(messages: Messages, attribute: Attribute): Message {
  const value = new messages.AttrValue();
  switch (attribute.type) {
    case 'type':
      value.setType(DATA_TYPES[attribute.value]);
      return value;
    case 'bool':
      value.setB(attribute.value);
      return value;
    case 'float':
      value.setF(attribute.value);
      return value;
    case 'tensor':
      value.setTensor(tensorMessage(messages, attribute.value));
      return value;
    case 'int':
      if (typeof attribute.value === 'number') value.setI(attribute.value);
      else value.setList(list(messages, message => message.setIList(attribute.value)));
      return value;
    case 'string':
      if (typeof attribute.value === 'string') value.setS(bytes(attribute.value));
      else value.setList(list(messages, message => message.setSList((attribute.value as string[]).map(bytes))));
      return value;
  }
}

function list(messages: Messages, fill: (message: Message) => void): Message {
  const message = new messages.AttrValue.ListValue();
  fill(message);
  return message;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function tensorMessage(messages: Messages, { shape, dtype, values }: Constant): Message {
  const message = new messages.Tensor();
  message.setDtype(DATA_TYPES[dtype]);
  message.setTensorShape(shapeMessage(messages, shape));
  message.setTensorContent(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  return message;
}

function shapeMessage(messages: Messages, shape: readonly number[]): Message {
  const message = new messages.TensorShape();
  for (const size of shape) {
    const dimension = new messages.TensorShape.Dim();
    dimension.setSize(size);
    message.addDim(dimension);
  }
  return message;
}

/** TensorFlow's codes of data types. */
export const DATA_TYPES: Record<DType, number> = {
  float32: 1,
  int32: 3,
  bool: 10,
  bfloat16: 14,
  float16: 19,
};
