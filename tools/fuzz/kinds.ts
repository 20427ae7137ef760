import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readAdapter, readAdapterConfig } from '../../src/adapters/read.ts';
import { findCheckpoint } from '../../src/checkpoint/find.ts';
import { loadConfig } from '../../src/checkpoint/load_config.ts';
import { loadTokenizer } from '../../src/checkpoint/tokenizer_files.ts';
import { readConfig } from '../../src/cli/train/config.ts';
import { checkDataset } from '../../src/datasets/open.ts';
import { decodeImage, readImageSize } from '../../src/image/decode.ts';
import type { Florence2Model } from '../../src/model/florence2_model.ts';
import { loadCheckpoint } from '../../src/parity/subject.ts';
import { openFolder } from '../../src/platform/node.ts';
import { readCalibration } from '../../src/results/calibration.ts';
import { parse } from '../../src/results/parse/parse.ts';
import { useBackend } from '../../src/runtime/backend.ts';
import { TASKS } from '../../src/text/tasks.ts';
import { canonicalCheckpoint } from '../../src/weights/canonical.ts';
import { openCheckpoint } from '../../src/weights/checkpoint.ts';
import { stateDict, storage, tensor, torchFile } from '../../test/weights/torch_file.ts';

/** A kind of input: files, of which one is changed, and what reads them. */
export interface Kind {
  /** Files by name. The first ones, `changed` of them, are changed by turns; the others stay. */
  readonly files: () => Promise<Record<string, Uint8Array>>;
  readonly changed: number;
  readonly read: (folder: string, file: string) => Promise<unknown>;
  /** What errors may name in place of the file. */
  readonly named?: RegExp;
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const inRoot = (path: string): Promise<Uint8Array> => readFile(join(root, path));
const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const image = () => inRoot('docs/pictures/street.jpg').catch(() => inRoot('docs/scenes/scene-1.png'));

/** Returns files of the demo checkpoint. */
async function demo(...names: string[]): Promise<Record<string, Uint8Array>> {
  return Object.fromEntries(await Promise.all(names.map(async name => [name, await inRoot(`weights/demo/${name}`)])));
}

async function readWeights(folder: string): Promise<void> {
  const file = await openCheckpoint(openFolder(folder));
  try {
    await canonicalCheckpoint(file);
    const [first] = [...file.tensors.values()].filter(({ shape }) => shape.reduce((n, d) => n * d, 1) < 1e6);
    if (first) await file.readFloat32(first.name);
  } finally {
    await file.close();
  }
}

const box = [10, 10, 60, 50];
const coco = {
  images: [{ id: 1, file_name: 'a.jpg', width: 640, height: 480 }],
  categories: [{ id: 1, name: 'car' }],
  annotations: [
    { id: 1, image_id: 1, category_id: 1, bbox: box, segmentation: [[1, 1, 9, 1, 9, 8]] },
    { id: 2, image_id: 1, category_id: 1, bbox: box, segmentation: { size: [480, 640], counts: [307200] }, iscrowd: 0 },
  ],
};
const lines = [
  { image: 'a.jpg', prefix: '<OD>', suffix: 'car<loc_1><loc_2><loc_30><loc_40>' },
  { image: 'a.jpg', task: '<OD>', answer: { boxes: [{ label: 'car', box }] } },
  { image: 'a.jpg', task: '<REFERRING_EXPRESSION_SEGMENTATION>', text: 'car', answer: { instances: [{ label: '', polygons: [[1, 1, 9, 1, 9, 8]] }] } }, // biome-ignore format: one line
];

/** Answers of the model, one for each form. */
const ANSWERS = [
  'A green car in front of a yellow house.',
  'car<loc_52><loc_332><loc_932><loc_774>door<loc_10><loc_20><loc_30><loc_40><loc_50><loc_60><loc_70><loc_80>',
  '<loc_52><loc_332><loc_932><loc_774><loc_10><loc_20><loc_30><loc_40>',
  'a green car<loc_52><loc_332><loc_932><loc_774><loc_1><loc_2><loc_3><loc_4>in<od>the street<poly><loc_1><loc_2></poly>',
  'OPEN DAILY<loc_1><loc_2><loc_30><loc_2><loc_30><loc_40><loc_1><loc_40></s>8 pm<loc_1><loc_2>',
  '<poly><loc_1><loc_2><loc_30><loc_2><loc_30><loc_40><sep><loc_5><loc_6><loc_7><loc_8><loc_9><loc_10></poly>',
];

const hubFiles: Record<string, Uint8Array> = { 'config.json': json({ model_type: 'florence2' }) };
const gitHash = (bytes: Uint8Array): string =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
let hub: Promise<string> | undefined;

/** Looks for a checkpoint on a hub whose answers are the files of a folder. */
async function readFromHub(folder: string): Promise<void> {
  hub ??= serveHub(folder);
  const cache = await mkdtemp(join(tmpdir(), 'florence2-fuzz-hub-'));
  Object.assign(process.env, { HF_HOME: cache, HF_ENDPOINT: await hub });
  try {
    await findCheckpoint('owner/fuzzed', { retryDelay: 1, timeout: 1000 });
  } finally {
    await rm(cache, { recursive: true, force: true });
  }
}

async function serveHub(folder: string): Promise<string> {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url!, 'http://hub');
    const api = pathname.includes('/tree/') ? 'tree.json' : 'info.json';
    const name = pathname.startsWith('/api/') ? api : pathname.split('/').at(-1)!;
    const bytes = await readFile(join(folder, name)).catch(() => undefined);
    response.writeHead(bytes ? 200 : 404, { 'content-type': 'application/json' }).end(bytes);
  });
  server.unref();
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

let tiny: Promise<Florence2Model> | undefined;

/** Returns a tiny model, which is loaded once. */
function tinyModel(): Promise<Florence2Model> {
  const folder = join(root, 'test/reference/model/tiny-pad');
  tiny ??= useBackend('cpu').then(async () => (await loadCheckpoint(folder, { file: 'hf/model.safetensors', dtype: 'float32' })).model); // biome-ignore format: one line
  return tiny;
}

/** All kinds by name. */
export const KINDS: Record<string, Kind> = {
  image: {
    files: async () => {
      const folder = 'test/reference/processor/images';
      const names = (await readdir(join(root, folder))).filter(name => !/large|768/.test(name));
      return Object.fromEntries(await Promise.all(names.map(async name => [name, await inRoot(`${folder}/${name}`)])));
    },
    changed: 100,
    read: async (folder, file) => [await readImageSize(join(folder, file)), await decodeImage(join(folder, file))],
  },
  weights: {
    files: async () => ({ 'model.safetensors': await inRoot('test/reference/model/tiny-pad/hf/model.safetensors') }),
    changed: 1,
    read: readWeights,
  },
  pickle: {
    files: async () => {
      const values = new Uint8Array(Float32Array.of(0, 1, 2, 3, 4, 5).buffer);
      const weight = tensor(storage('FloatStorage', '0', 6), 0, [2, 3], [3, 1]);
      const name = 'language_model.model.encoder.layernorm_embedding.weight';
      return { 'pytorch_model.bin': torchFile(stateDict({ [name]: weight }), { 0: values }) };
    },
    changed: 1,
    read: readWeights,
  },
  index: {
    files: async () => ({
      'model.safetensors.index.json': json({ metadata: { total_size: 1 }, weight_map: { a: 'a.safetensors', b: 'b' } }),
    }),
    changed: 1,
    read: readWeights,
  },
  config: {
    files: () => demo('config.json', 'generation_config.json', 'preprocessor_config.json'),
    changed: 3,
    read: folder => loadConfig(openFolder(folder)),
  },
  tokenizer: {
    files: () => demo('tokenizer.json', 'tokenizer_config.json'),
    changed: 2,
    read: async folder => (await loadTokenizer(openFolder(folder))).encode('What does the image describe? aaaaaaaaaa'),
  },
  calibration: {
    files: () => demo('calibration.json'),
    changed: 1,
    read: folder => readCalibration(openFolder(folder)),
  },
  adapter: {
    files: async () => ({ 'adapter_config.json': await inRoot('test/adapters/dora/adapter_config.json') }),
    changed: 1,
    read: folder => readAdapterConfig(openFolder(folder)),
  },
  'adapter weights': {
    files: async () => ({
      'adapter_model.safetensors': await inRoot('test/adapters/embeddings/all/adapter_model.safetensors'),
      'adapter_config.json': await inRoot('test/adapters/embeddings/all/adapter_config.json'),
    }),
    changed: 2,
    read: async folder => (await readAdapter(await tinyModel(), openFolder(folder))).dispose(),
  },
  hub: {
    files: async () => ({
      'info.json': json({ sha: 'a'.repeat(40), id: 'owner/fuzzed' }),
      'tree.json': json(
        Object.entries(hubFiles).map(([path, bytes]) => ({
          type: 'file',
          path,
          size: bytes.length,
          oid: gitHash(bytes),
        })),
      ),
      ...hubFiles,
    }),
    changed: 3,
    read: readFromHub,
    named: /http:\/\/127\.0\.0\.1|owner\/fuzzed/,
  },
  answers: {
    files: async () => ({ 'answers.txt': Buffer.from(ANSWERS.join('\n')) }),
    changed: 1,
    read: async (folder, file) => {
      const text = (await readFile(join(folder, file))).toString('latin1');
      for (const answer of text.split('\n')) {
        for (const { task } of TASKS) {
          const size = { width: 640, height: 480 };
          for (const keepMalformed of [false, true]) JSON.stringify(parse(answer, task, size, { keepMalformed }));
        }
      }
    },
  },
  settings: {
    files: async () => ({
      'train.json': json({ data: ['x:0.5'], lora: { r: 4, targets: ['q_proj'] }, augment: { flip: 0.5 }, epochs: 2 }),
    }),
    changed: 1,
    read: (folder, file) => readConfig(join(folder, file)),
  },
  coco: {
    files: async () => ({ '_annotations.coco.json': json(coco), 'a.jpg': await image() }),
    changed: 1,
    read: (folder, file) =>
      checkDataset(join(folder, file), { tasks: ['<OD>', '<REFERRING_EXPRESSION_SEGMENTATION>'] }),
  },
  lines: {
    files: async () => ({
      'annotations.jsonl': Buffer.from(lines.map(line => JSON.stringify(line)).join('\n')),
      'a.jpg': await image(),
    }),
    changed: 1,
    read: (folder, file) => checkDataset(join(folder, file)),
  },
  yolo: {
    files: async () => ({
      'data.yaml': Buffer.from('train: images\nnc: 2\nnames: [car, "bus"]\n'),
      'labels/a.txt': Buffer.from('0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.4 0.1 0.4 0.4\n'),
      'images/a.jpg': await image(),
    }),
    changed: 2,
    read: folder => checkDataset(join(folder, 'data.yaml')),
  },
};

/** Writes the files of a kind to a folder. */
export async function writeFiles(folder: string, files: Record<string, Uint8Array>): Promise<void> {
  for (const [name, bytes] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), bytes);
  }
}
