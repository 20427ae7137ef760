import type { Activation } from '../activations/activation.ts';
import type { ActivationCache } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';
import { type AttentionLayer, checkHead, isIndex, readHeads } from './attention_parts.ts';

/**
 * Window attention of one block on the image plane. A position attends to its own window only, so that its weights are a
 * w × w patch of the map and not all of it: place (i, j) of the patch of (row, column) is
 * (row − row mod w + i, column − column mod w + j).
 */
export interface WindowAttentionMap {
  kind: 'window';
  layer: string;
  /** [heads, H, W, w, w], or [H, W, w, w] of one head: query row and column, then the place. 0 for places off the map. */
  values: Float32Array;
  shape: number[];
  /** The map's rows and columns. */
  size: [H: number, W: number];
  window: number;
  /**
   * [heads, H, W] or [H, W]: what a position spends on the zeros that fill windows over the map's right and lower edge.
   * With this, its weights sum to 1; without, to less near those edges.
   */
  onPadding: Float32Array;
}

const BLOCK = 'vision_tower.blocks.{layer}.spatial_block';

/** The patterns, and a point with the map's size, which the windows do not tell where they are padded. */
export const windowPoints = (layer: AttentionLayer): string[] =>
  ['window_attn.hook_pattern', 'hook_attn_out'].map(leaf => `${BLOCK.replace('{layer}', String(layer))}.${leaf}`);

/** See `attention`. */
export async function readWindowAttention(
  cache: ActivationCache,
  layer: AttentionLayer,
  head: number | undefined,
  row?: number,
): Promise<WindowAttentionMap> {
  const [pattern] = windowPoints(layer);
  const [B, H, W] = mapShape(cache, layer);
  const { values, shape } = await readHeads(cache, pattern, { row, head }, B); // this image's windows
  const [, heads, places] = shape;
  const w = Math.round(Math.sqrt(places));
  const across = Math.ceil(W / w);
  const size = heads * H * W;
  const map = new Float32Array(size * places);
  const onPadding = new Float32Array(size);
  for (let query = 0; query < size; query++) {
    const [h, y, x] = [Math.floor(query / (H * W)), Math.floor(query / W) % H, query % W];
    const tile = Math.floor(y / w) * across + Math.floor(x / w);
    const from = ((tile * heads + h) * places + (y % w) * w + (x % w)) * places;
    const [top, left] = [y - (y % w), x - (x % w)];
    for (let place = 0; place < places; place++) {
      const onMap = top + Math.floor(place / w) < H && left + (place % w) < W;
      if (onMap) map[query * places + place] = values[from + place];
      else onPadding[query] += values[from + place];
    }
  }
  const axes = [H, W, w, w];
  return {
    kind: 'window',
    layer: String(layer),
    values: map,
    shape: head === undefined ? [heads, ...axes] : axes,
    size: [H, W],
    window: w,
    onPadding,
  };
}

/**
 * The weights of one position of the map on the map [H, W], row by row: 0 outside of its window.
 *
 * @param head default: the mean of the heads
 */
export function windowAttentionFrom(
  map: WindowAttentionMap,
  row: number,
  column: number,
  head?: number,
): { values: Float32Array; shape: [H: number, W: number]; onPadding: number } {
  const [H, W] = map.size;
  if (!(isIndex(row, H) && isIndex(column, W))) {
    throw new UsageError(`The map has rows 0 to ${H - 1} and columns 0 to ${W - 1}; there is no ${row}, ${column}.`);
  }
  const heads = headsOf(map);
  if (head !== undefined) checkHead(head, heads);
  const values = new Float32Array(H * W);
  let onPadding = 0;
  for (const h of head === undefined ? Array(heads).keys() : [head]) {
    const share = head === undefined ? 1 / heads : 1;
    const query = (h * H + row) * W + column;
    eachPlace(map, query, (position, weight) => {
      values[position] += weight * share;
    });
    onPadding += map.onPadding[query] * share;
  }
  return { values, shape: [H, W], onPadding };
}

/** Largest number of weights that `denseWindowAttention` makes: 1 GB. */
const DENSE_LIMIT = 2 ** 28;

/**
 * The weights of every position on every position, [heads, H · W, H · W], or [H · W, H · W] of one head. That is a
 * matrix for maps of later stages, and too much for the first ones of large images.
 *
 * @throws UsageError where it would be more than 1 GB
 */
export function denseWindowAttention(map: WindowAttentionMap): Activation {
  const [H, W] = map.size;
  const [heads, N] = [headsOf(map), H * W];
  if (heads * N * N > DENSE_LIMIT) {
    throw new UsageError(
      `All weights on a map of ${H}×${W} are ${heads * N * N} numbers: read one head, or windowAttentionFrom single positions.`,
    );
  }
  const values = new Float32Array(heads * N * N);
  for (let query = 0; query < heads * N; query++) {
    eachPlace(map, query, (position, weight) => {
      values[query * N + position] = weight;
    });
  }
  return { values, shape: map.shape.length === 5 ? [heads, N, N] : [N, N] };
}

/** Calls `visit` with every position of the map in the window of a query (head · H · W + row · W + column). */
function eachPlace(
  { values, size: [H, W], window }: WindowAttentionMap,
  query: number,
  visit: (position: number, weight: number) => void,
): void {
  const [y, x] = [Math.floor(query / W) % H, query % W];
  const [top, left] = [y - (y % window), x - (x % window)];
  for (let i = 0; i < window && top + i < H; i++) {
    for (let j = 0; j < window && left + j < W; j++) {
      visit((top + i) * W + left + j, values[(query * window + i) * window + j]);
    }
  }
}

const headsOf = ({ shape }: WindowAttentionMap): number => (shape.length === 5 ? shape[0] : 1);

/** [B, H, W, C] of a block, from any of its activations that is a map. */
function mapShape(cache: ActivationCache, layer: AttentionLayer): number[] {
  const block = BLOCK.replace('{layer}', String(layer));
  const map = cache.names.find(name => name.startsWith(`${block}.hook_`));
  if (map) return cache.shape(map);
  throw new UsageError(
    `The size of the map was not kept with its windows: capture attentionPoints('window', '${layer}').`,
  );
}
