/**
 * What did fine-tuning change? The study compares the checkpoint without and with the adapter of docs/fine-tuning.md,
 * which was trained on hearts, point by point: on scenes with a heart and on scenes without.
 *
 *     npx tsx docs/studies/fine_tuning.ts HEARTS ADAPTER [SCENES] [FOLDER]
 *
 * HEARTS is the folder that tools/new_shape.ts writes.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { diffRuns, type ImageDiff } from '../../src/index.ts';
import { figurePath } from './figure_path.ts';
import { heatTables, tableLines } from './heat_table.ts';

const [hearts, adapter, scenes = '12', folder] = process.argv.slice(2);
const model = join(import.meta.dirname, '../../weights/demo');
const points = {
  vision: 'vision_tower.blocks.*.*.*.hook_resid_post',
  encoder: 'language_model.encoder.layers.*.hook_resid_post',
  decoder: 'language_model.decoder.layers.*.hook_resid_post',
};

/** Returns ‖with − without adapter‖ / ‖without‖ by point, averaged over images, and the number of changed answers. */
async function changes(folder: string): Promise<{ byPoint: Map<string, number>; answers: number }> {
  const images = Array.from({ length: Number(scenes) }, (_, i) =>
    join(folder, 'test', `${String(i + 1).padStart(4, '0')}.png`),
  );
  const report = await diffRuns({ model }, { model, adapter }, images, { task: '<OD>', at: Object.values(points) });
  const names = report.images[0].rows.map(({ name }) => name);
  const mean = (name: string) => {
    const values = report.images.map(({ rows }: ImageDiff) => rows.find(row => row.name === name)!.relative);
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  };
  return {
    byPoint: new Map(names.map(name => [name, mean(name)])),
    answers: report.images.filter(({ sameAnswer }) => !sameAnswer).length,
  };
}

const [withHeart, without] = [await changes(hearts), await changes(join(hearts, 'old'))];
console.log(`changed answers: ${withHeart.answers} of ${scenes} with a heart, ${without.answers} of ${scenes} without`);
const tables = Object.keys(points).map(part => {
  const names = [...withHeart.byPoint.keys()].filter(name => name.includes(part));
  const rows = names.map(name => name.replace(/^.*(block|layer)s\.(.*?)(_block)?\.hook.*$/, '$1 $2'));
  const values = names.flatMap(name => [withHeart, without].map(({ byPoint }) => byPoint.get(name)!));
  return { title: `Change in the ${part}`, across: '', columns: ['hearts', 'no hearts'], rows, values };
});
await writeFile(await figurePath('fine_tuning.svg', folder), heatTables(tables));
for (const table of tables) console.log(tableLines(table).join('\n'));
