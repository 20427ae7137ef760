/**
 * Where are colour words read from? Each scene is drawn twice, the second time with its first object recoloured. Patches
 * of the first image are inserted one by one into a run on the second, at the pixels and at the image features. Metric:
 * logit difference of both colours at the caption's colour word; 0 means no effect, 1 that the colour is restored.
 *
 *     npx tsx docs/studies/colour_patches.ts [SCENES] [FOLDER]
 */
import { join } from 'node:path';
import sharp, { type OverlayOptions } from 'sharp';
import type { BoxCoordinates } from '../../src/geometry/types.ts';
import { drawHeatmap, Florence2, type Heatmap, logitDifference, patchSweep, Question } from '../../src/index.ts';
import { layOut, SCENE_SIDE } from '../../tools/demo/layout.ts';
import { paint } from '../../tools/demo/paint.ts';
import { HELD_OUT_SEED } from '../../tools/demo/seeds.ts';
import { caption } from '../../tools/demo/targets.ts';
import { COLORS, type ColorName } from '../../tools/demo/vocabulary.ts';
import { figurePath } from './figure_path.ts';

const model = await Florence2.load(join(import.meta.dirname, '../../weights/demo'));
const points = { pixels: 'vision_tower.hook_pixels', features: 'multi_modal_projector.hook_image_features' };

/** Returns a scene, and a copy whose first object has a colour that no object of the scene has. */
function twoColours(index: number) {
  const layout = layOut(HELD_OUT_SEED, index);
  const [object, ...others] = layout.objects;
  const color = (Object.keys(COLORS) as ColorName[]).find(name => layout.objects.every(other => other.color !== name))!;
  const changed = { ...layout, objects: [{ ...object, color, rgb: COLORS[color] }, ...others] };
  return [layout, changed].map(one => ({ ...one, image: paint(one, HELD_OUT_SEED, index) }));
}

/** Returns the share that each patch restores, at each point. */
async function sweep(index: number) {
  const [scene, changed] = twoColours(index);
  const ask = ({ image }: typeof scene) => Question.ask(model, image, '<CAPTION>', { answer: caption(scene) });
  const [clean, corrupted] = [await ask(scene), await ask(changed)];
  const [was, is] = [scene, changed].map(({ objects: [{ color }] }) => {
    return model.tokenizer.encode(` ${color}`, { addSpecialTokens: false })[0];
  });
  const subject = { clean, corrupted, metric: logitDifference(clean.answerIds.indexOf(was), was, is) };
  const maps = [];
  for (const at of Object.values(points)) {
    const { values, shape, ...without } = await patchSweep(model, { ...subject, over: 'patches', at });
    const back = values.map(value => (value - without.corrupted) / (without.clean - without.corrupted));
    maps.push({ data: back, width: shape[1], height: shape[0] });
  }
  for (const question of [clean, corrupted]) question.dispose();
  return { scene, changed, maps };
}

/** Returns the sum of a map over the cells that touch the scene's first object. */
function onObject({ data, width }: Heatmap, [x1, y1, x2, y2]: BoxCoordinates): number {
  const cell = SCENE_SIDE / width;
  const overlap = (i: number, from: number, to: number) => i * cell < to && (i + 1) * cell > from;
  const touches = (at: number) => overlap(at % width, x1, x2) && overlap(Math.floor(at / width), y1, y2);
  return data.reduce((sum, value, at) => sum + (touches(at) ? value : 0), 0);
}

const tiles: OverlayOptions[] = [];
const [step, count] = [2 * SCENE_SIDE + 8, Number(process.argv[2] ?? 4)]; // distance of tiles in pixels, scenes
for (let row = 0; row < count; row++) {
  const { scene, changed, maps } = await sweep(row);
  const [{ color, shape, box }] = scene.objects;
  const plain = [scene, changed].map(({ image: { data, ...raw } }) => sharp(data, { raw: { ...raw, channels: 3 } }));
  const drawn = await Promise.all(maps.map(map => drawHeatmap(changed.image, map, { cells: true, max: 0.5, bar: false }))); // biome-ignore format: one line
  for (const [column, picture] of [...plain, ...drawn.map(png => sharp(png))].entries()) {
    const input = picture.resize({ width: 2 * SCENE_SIDE, kernel: 'nearest' }).png();
    tiles.push({ input: await input.toBuffer(), left: column * step, top: row * step });
  }
  console.log(`${color} ${shape}, drawn ${changed.objects[0].color}`);
  for (const [i, at] of Object.keys(points).entries()) {
    const all = maps[i].data.reduce((sum, value) => sum + value, 0);
    console.log(`  ${at}: its cells restore ${onObject(maps[i], box).toFixed(2)}, all cells ${all.toFixed(2)}`);
  }
}
model.dispose();
const size = { width: 4 * step - 8, height: count * step - 8 };
await sharp({ create: { ...size, channels: 3, background: '#fff' } })
  .composite(tiles)
  .toFile(await figurePath('colour_patches.png', process.argv[3]));
