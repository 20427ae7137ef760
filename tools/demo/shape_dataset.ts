import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatAnswer } from '../../src/results/format.ts';
import { taskText } from '../../src/text/prompt.ts';
import type { Task } from '../../src/text/tasks.ts';
import { layOut, SCENE_SIDE } from './layout.ts';
import { drawScene, type Scene } from './scene.ts';
import { HELD_OUT_SEED, NEW_SHAPE_SEEDS, TRAINING_SEEDS, VALIDATION_SEED } from './seeds.ts';
import type { SceneShape } from './shapes.ts';
import { TRAINED_SHAPES } from './vocabulary.ts';

/**
 * The shape that fine-tuning teaches to the demo checkpoint. Its vocabulary has the word, its training did not use it.
 */
export const NEW_SHAPE: SceneShape = 'heart';

/** Number of images in each part. */
export interface PartSizes {
  train: number;
  valid: number;
  test: number;
  /** Images with known shapes for training. */
  replay: number;
}

/**
 * Writes two datasets of JSON lines, `{train,valid,test}/annotations.jsonl` with their images: in the folder itself,
 * scenes with the new shape next to known ones; in `old`, scenes with known shapes only. The training part of `old` has
 * scenes of the checkpoint's training, its test part held-out ones.
 */
export async function writeShapeDatasets(folder: string, sizes: PartSizes): Promise<void> {
  const { train, valid, test, replay } = sizes;
  await writePart(join(folder, 'train'), scenesWith(NEW_SHAPE, NEW_SHAPE_SEEDS.train), train);
  await writePart(join(folder, 'valid'), scenesWith(NEW_SHAPE, NEW_SHAPE_SEEDS.valid), valid);
  await writePart(join(folder, 'test'), scenesWith(NEW_SHAPE, NEW_SHAPE_SEEDS.test), test);
  await writePart(join(folder, 'old/train'), scenes(TRAINING_SEEDS.at(-1)!), replay);
  await writePart(join(folder, 'old/valid'), scenes(VALIDATION_SEED), valid);
  await writePart(join(folder, 'old/test'), scenes(HELD_OUT_SEED), test);
}

function* scenes(seed: number): Generator<Scene, never> {
  for (let index = 0; ; index++) yield drawScene(seed, index);
}

/** Yields scenes in which each object has this shape with probability 1/2, except scenes without any. */
function* scenesWith(shape: SceneShape, seed: number): Generator<Scene, never> {
  const shapes = [...TRAINED_SHAPES, ...TRAINED_SHAPES.map(() => shape)];
  for (let index = 0; ; index++) {
    if (layOut(seed, index, { shapes }).objects.some(object => object.shape === shape)) {
      yield drawScene(seed, index, { shapes });
    }
  }
}

async function writePart(folder: string, scenes: Generator<Scene, never>, count: number): Promise<void> {
  const { default: sharp } = await import('sharp');
  await mkdir(folder, { recursive: true });
  const lines: string[] = [];
  for (let i = 0; i < count; i++) {
    const scene = scenes.next().value;
    const image = `${String(i + 1).padStart(4, '0')}.png`;
    const { data, width, height } = scene.image;
    await sharp(data, { raw: { width, height, channels: 3 } }).toFile(join(folder, image));
    lines.push(...rowsOf(scene, image));
  }
  await writeFile(join(folder, 'annotations.jsonl'), lines.map(line => `${line}\n`).join(''));
}

/** Returns all targets of a scene as lines in the format of Roboflow's exports. */
function rowsOf({ targets }: Scene, image: string): string[] {
  const size = { width: SCENE_SIDE, height: SCENE_SIDE };
  return targets.map(({ task, text, box, answer }) =>
    JSON.stringify({
      image,
      prefix: taskText(task as Task, { text, box }, size),
      suffix: formatAnswer(task, answer, size),
    }),
  );
}
