import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import protobuf from 'protobufjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import { exportOnnx } from '../../src/export/export_onnx.ts';
import { withoutLeaks } from '../backend.ts';
import { learnerCheckpoint, newFolder, withLearner } from '../training/learner.ts';

const proto = fileURLToPath(new URL('../../src/export/onnx.proto', import.meta.url));
const type = protobuf.loadSync(proto).lookupType('onnx.ModelProto');
const checkpoint = await learnerCheckpoint('microsoft');

interface Value {
  name: string;
  type: { tensorType: { elemType: number; shape: { dim: { dimValue?: string; dimParam?: string }[] } } };
}

interface Node {
  opType: string;
  domain?: string;
  attribute?: { g?: { node: Node[] } }[];
}

interface Graph {
  node: Node[];
  input: Value[];
  output: Value[];
  initializer: { name: string; externalData?: { key: string; value: string }[] }[];
}

function read(folder: string, name: string): Graph {
  const message = type.decode(readFileSync(join(folder, 'onnx', `${name}.onnx`)));
  return (type.toObject(message, { longs: String, enums: Number }) as { graph: Graph }).graph;
}

const described = ({ name, type: { tensorType } }: Value): string => {
  const dims = tensorType.shape.dim.map(({ dimValue, dimParam }) => dimParam ?? dimValue);
  return `${name} ${tensorType.elemType} ${dims}`;
};

const allNodes = (nodes: Node[]): Node[] =>
  nodes.flatMap(node => [node, ...(node.attribute ?? []).flatMap(({ g }) => (g ? allNodes(g.node) : []))]);

test('the models have the inputs and outputs of transformers.js, and only standard operators', () =>
  withoutLeaks(() =>
    withLearner(checkpoint, async florence => {
      const folder = newFolder();
      await exportOnnx(florence, folder);
      const V = florence.config.text.vocabSize;
      const [own, cross] = ['past_decoder_sequence_length', 'encoder_sequence_length'];
      const caches = (name: string, part: string, length: string) =>
        ['key', 'value'].map(what => `${name}.0.${part}.${what} 1 batch_size,2,${length},8`);
      const expected: Record<string, [inputs: string[], outputs: string[]]> = {
        vision_encoder: [['pixel_values 1 batch_size,3,32,32'], ['image_features 1 batch_size,5,16']],
        embed_tokens: [['input_ids 7 batch_size,sequence_length'], ['inputs_embeds 1 batch_size,sequence_length,16']],
        encoder_model: [
          [`inputs_embeds 1 batch_size,${cross},16`, `attention_mask 7 batch_size,${cross}`],
          [`last_hidden_state 1 batch_size,${cross},16`],
        ],
        decoder_model_merged: [
          [
            ...[`encoder_attention_mask 7 batch_size,${cross}`, `encoder_hidden_states 1 batch_size,${cross},16`],
            ...['inputs_embeds 1 batch_size,1,16', ...caches('past_key_values', 'decoder', own)],
            ...[...caches('past_key_values', 'encoder', cross), 'use_cache_branch 9 1'],
          ],
          [
            ...[`logits 1 batch_size,1,${V}`, ...caches('present', 'decoder', `${own} + 1`)],
            ...caches('present', 'encoder', cross),
          ],
        ],
      };
      for (const [name, [inputs, outputs]] of Object.entries(expected)) {
        const graph = read(folder, name);
        assert.equal(graph.input.map(described), inputs, name);
        assert.equal(graph.output.map(described), outputs, name);
        const nodes = allNodes(graph.node);
        assert.equal(
          nodes.filter(({ domain }) => domain).map(({ opType }) => opType),
          [],
          name,
        );
        if (name !== 'embed_tokens')
          assert.ok(
            nodes.some(({ opType }) => opType === 'LayerNormalization'),
            name,
          );
      }
    }),
  ));

test('each weight is in the file of weights once, aligned, and the file ends with the last one', () =>
  withLearner(checkpoint, async florence => {
    const folder = newFolder();
    await exportOnnx(florence, folder);
    for (const name of ['vision_encoder', 'embed_tokens', 'encoder_model', 'decoder_model_merged']) {
      const { initializer } = read(folder, name);
      assert.is(new Set(initializer.map(({ name }) => name)).size, initializer.length);
      const places = initializer.flatMap(({ externalData = [] }) => {
        const { location, offset, length } = Object.fromEntries(externalData.map(({ key, value }) => [key, value]));
        if (location === undefined) return [];
        assert.is(location, `${name}.onnx_data`);
        return [{ offset: Number(offset), end: Number(offset) + Number(length) }];
      });
      places.forEach(({ offset }, i) => {
        assert.is(offset % 64, 0);
        assert.ok(offset >= (places[i - 1]?.end ?? 0));
      });
      assert.is(statSync(join(folder, 'onnx', `${name}.onnx_data`)).size, places.at(-1)!.end);
    }
    const parameters = [...florence.model.parameters.values()].filter(({ name }) => name.startsWith('vision_tower'));
    const weights = read(folder, 'vision_encoder').initializer.filter(({ name }) => name.startsWith('vision_tower'));
    assert.is(weights.length, parameters.length);
  }));

test('the settings tell transformers.js how to build prompts and to read answers', () =>
  withLearner(checkpoint, async florence => {
    const folder = newFolder();
    await exportOnnx(florence, folder);
    const json = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'));
    const { processor_class, task_prompts_with_input, tasks_answer_post_processing_type } = json('preprocessor_config.json'); // biome-ignore format: one line
    assert.is(processor_class, 'Florence2Processor');
    assert.is(task_prompts_with_input['<REGION_TO_OCR>'], 'What text is in the region {input}?');
    assert.is(tasks_answer_post_processing_type['<OD>'], 'description_with_bboxes');
    assert.is(Object.keys(tasks_answer_post_processing_type).length, 15);
    assert.equal(json('config.json')['transformers.js_config'], { use_external_data_format: true });
    const tokens = json('tokenizer.json').added_tokens.map(({ content }: { content: string }) => content);
    assert.ok(tokens.includes('<loc_999>'), "tokenizer.json has Florence-2's tokens");
  }));

test('separate embeddings of prompts and answers are refused', () =>
  withLearner(checkpoint, async florence => {
    const { answers } = florence.model.languageModel;
    answers.weight.replace(tf.tidy(() => tf.add(answers.weight.value, 1)));
    const error = await exportOnnx(florence, newFolder()).catch((error: unknown) => error);
    assert.instance(error, UsageError);
    assert.match((error as Error).message, /separate embeddings for prompts and answers/);
  }));

test('adapters that are not merged are refused, and nothing is written', () =>
  withLearner(checkpoint, async florence => {
    florence.adapters.create('a', { r: 1 });
    const folder = newFolder();
    const error = await exportOnnx(florence, folder).catch((error: unknown) => error);
    assert.instance(error, UsageError);
    assert.match((error as Error).message, /call adapters\.merge\(\) first/);
    assert.not.ok(readdirSync(join(folder, '..')).includes(folder.split(/[\\/]/).at(-1)!));
    florence.adapters.merge();
    await exportOnnx(florence, folder);
    assert.ok(readdirSync(folder).includes('onnx'));
  }));

test.run();
