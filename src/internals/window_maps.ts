import type { Activation } from '../activations/activation.ts';
import type { ActivationCache } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';
import { type AttentionLayer, checkHead, isIndex, readHeads } from './attention_parts.ts';

/**
 * The window attention of one DaViT block, arranged by position on its map. A position attends only to its own window,
 * so its weights form a w × w patch of the map: place (i, j) of the patch of (row, column) is position (row − row mod w
 * + i, column − column mod w + j).
 */
export interface WindowAttentionMap {
  /** Distinguishes this map from an `AttentionMap`. */
  kind: 'window';
  /** `stage.block`. */
  layer: string;
  /** Weights by head, query row, query column and place in the window; 0 for places outside the map. */
  values: Float32Array;
  /** [heads, H, W, w, w], or [H, W, w, w] for one head. */
  shape: number[];
  /** The map's rows and columns. */
  size: [H: number, W: number];
  /** The window's side w. */
  window: number;
  /**
   * Weight of each position on the zeros that pad windows beyond the map's right and lower edges: [heads, H, W], or
   * [H, W] for one head. The weights of a position and this sum to 1.
   */
  onPadding: Float32Array;
}

const BLOCK = 'vision_tower.blocks.{layer}.spatial_block';

/** Returns the point with the weights, and one with the map's size, which padded windows do not reveal. */
export const windowPoints = (layer: AttentionLayer): string[] =>
  ['window_attn.hook_pattern', 'hook_attn_out'].map(leaf => `${BLOCK.replace('{layer}', String(layer))}.${leaf}`);

/** Reads window attention for `attention`. */
export async function readWindowAttention(
  cache: ActivationCache,
  layer: AttentionLayer,
  head: number | undefined,
  row?: number,
): Promise<WindowAttentionMap> {
  const [pattern] = windowPoints(layer);
  const [B, H, W] = mapShape(cache, layer);
  const { values, shape } = await readHeads(cache, pattern, { row, head }, B); // the windows of one image
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
 * Returns the weights of one position on the whole map [H, W], row by row; 0 outside its window.
 *
 * @param row row of the position on the map
 * @param column column of the position on the map
 * @param head index of the head. Default: the mean over the heads
 * @throws UsageError if the position or the head does not exist
 */
export function windowAttentionFrom(
  map: WindowAttentionMap,
  row: number,
  column: number,
  head?: number,
): { values: Float32Array; shape: [H: number, W: number]; onPadding: number } {
  const [H, W] = map.size;
  if (!(isIndex(row, H) && isIndex(column, W))) {
    throw new UsageError(
      `Position ${row}, ${column} does not exist; the map has rows 0 to ${H - 1} and columns 0 to ${W - 1}.`,
    );
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

/** Largest number of weights that `denseWindowAttention` returns: 1 GiB of float32. */
const DENSE_LIMIT = 2 ** 28;

/**
 * Returns the weights of every position on every position: [heads, H · W, H · W], or [H · W, H · W] for one head. The
 * matrix is too large for the first stages of large images.
 *
 * @throws UsageError if the result would exceed 1 GiB
 */
export function denseWindowAttention(map: WindowAttentionMap): Activation {
  const [H, W] = map.size;
  const [heads, N] = [headsOf(map), H * W];
  if (heads * N * N > DENSE_LIMIT) {
    throw new UsageError(
      `All weights of a ${H}×${W} map are ${heads * N * N} numbers: read a single head, or single positions with windowAttentionFrom.`,
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

/** Calls `visit` for every map position in the window of a query, whose index is head · H · W + row · W + column. */
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

/** Returns the shape [B, H, W, C] of a block's map, from any map that was kept. */
function mapShape(cache: ActivationCache, layer: AttentionLayer): number[] {
  const block = BLOCK.replace('{layer}', String(layer));
  const map = cache.names.find(name => name.startsWith(`${block}.hook_`));
  if (map) return cache.shape(map);
  throw new UsageError(`The size of the map was not kept: capture attentionPoints('window', '${layer}').`);
}
