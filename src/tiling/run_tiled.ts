import { UsageError } from '../errors.ts';
import type { BoxCoordinates } from '../geometry/types.ts';
import { ImageFeatures } from '../image/features.ts';
import { DECODE_OPTIONS, type DecodeOptions, type ImageInput, type RawImage } from '../image/types.ts';
import { checkOptions, pickOptions } from '../options.ts';
import { turnResult } from '../results/turn.ts';
import type { TaskResult } from '../results/types.ts';
import type { TaskArguments } from '../text/prompt.ts';
import { findTask } from '../text/tasks.ts';
import { MERGE_OPTIONS } from './merge.ts';
import { mergeResults } from './merge_results.ts';
import { cropImage, TILE_OPTIONS, type TileOptions, viewBoxes } from './tiles.ts';

/** A task about a tiled image. */
export interface TiledRequest extends TaskArguments {
  task: string;
}

/** The calls of a model that tiles need. `Florence2` has them. */
export interface TiledModel<Options> {
  encodeImages(images: RawImage[]): Promise<ImageFeatures[]>;
  runBatch(requests: (TiledRequest & { image: ImageFeatures })[], options: Options): Promise<TaskResult[]>;
}

/**
 * Answers tasks about a large image with small objects or small print: about the whole image and about its overlapping
 * tiles, each of which is encoded once. The results are merged, see `mergeResults`.
 *
 * @returns one result per request
 * @throws UsageError for a task whose answers cannot be merged: one that answers in words, or about a region
 */
export async function runTiled<Options>(
  model: TiledModel<Options>,
  image: RawImage,
  requests: readonly TiledRequest[],
  tiles: TileOptions,
  options: Options,
): Promise<TaskResult[]> {
  for (const { task } of requests) checkTiledTask(task);
  checkOptions('The tiling', tiles, TILE_OPTIONS);
  const boxes = viewBoxes(image, tiles);
  const batch = tiles.batch ?? 1;
  const answers: TaskResult[][] = requests.map(() => []); // [request][view]
  for (let first = 0; first < boxes.length; first += batch) {
    const features = await model.encodeImages(boxes.slice(first, first + batch).map(box => cropImage(image, box)));
    try {
      for (const [i, request] of requests.entries()) {
        const views = features.map(view => ({ ...request, image: view }));
        answers[i].push(...(await model.runBatch(views, options)));
      }
    } finally {
      for (const view of features) view.dispose();
    }
  }
  const viewsOf = (results: TaskResult[]) => boxes.map((box: BoxCoordinates, i) => ({ box, result: results[i] }));
  return answers.map(results => mergeResults(viewsOf(results), image, pickOptions(tiles, MERGE_OPTIONS)));
}

/**
 * Decodes an image and answers one task about it in tiles, in pixels of the stored image.
 *
 * @param tiles options, or the size of the tiles
 * @throws UsageError for features in place of an image, and as `runTiled`
 */
export async function readInTiles<Options extends DecodeOptions>(
  model: TiledModel<Options>,
  image: ImageInput | ImageFeatures,
  request: TiledRequest,
  tiles: number | TileOptions,
  options: Options,
): Promise<TaskResult> {
  if (image instanceof ImageFeatures) throw new UsageError('Tiles are cut from pixels: pass the image, not features.');
  const { decodeForModel } = await import('../image/decode.ts');
  const { image: pixels, turned } = await decodeForModel(image, pickOptions(options, DECODE_OPTIONS));
  const how = typeof tiles === 'number' ? { size: tiles } : tiles;
  const [result] = await runTiled(model, pixels, [request], how, options);
  return turnResult(result, turned);
}

/** @throws UsageError if answers to a task cannot be merged across tiles */
export function checkTiledTask(task: string): void {
  const row = findTask(task);
  const words = row === undefined || row.answer === 'text';
  if (!words && row.input !== 'region') return;
  const name = row ? `Task ${row.task}` : 'A custom prompt';
  const why = words ? 'is answered in words, which' : 'asks about a region of the image, so its answers';
  const hint = row?.task === '<OCR>' ? ' Use <OCR_WITH_REGION>.' : '';
  throw new UsageError(`${name} ${why} cannot be merged across tiles: run it without tiles.${hint}`);
}
