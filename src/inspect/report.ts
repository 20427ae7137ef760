/** The data of a report, which the page contains as JSON. */
export interface Report {
  /** Title of the page. */
  title: string;
  /** Names of the checkpoint, its adapter and the backend. */
  model: { name: string; adapter?: string; backend: string };
  /** The image. */
  image: ReportImage;
  /** A task token, or `prompt` for a custom prompt. */
  task: string;
  /** The prompt that the model received. */
  prompt: string;
  /** The answer as text with its location tokens, and whether it was cut off at the token limit. */
  answer: { text: string; truncated: boolean };
  /** The answer's tokens. */
  tokens: ReportToken[]; // [T]
  /** The regions of the answer, in its order. */
  regions: Region[];
  /** Cross-attention of the answer's tokens. */
  attention: CrossAttention;
  /** Logit lens over the decoder. */
  lens: Lens;
  /** Norms of activations, one panel per part of the model. */
  norms: NormPanel[];
}

/** The image of a report. */
export interface ReportImage {
  /** File name. */
  name: string;
  /** The picture as a data URL; larger images are reduced. */
  src: string;
  /** Width of the original in pixels, upright if the model read it so. All coordinates refer to this picture. */
  width: number;
  /** Height of the original in pixels. */
  height: number;
}

/** A token and its probability at a position. */
export interface Candidate {
  /** The token as text. */
  text: string;
  /** Probability, 0 to 1. */
  p: number;
}

/** One token of the answer. */
export interface ReportToken extends Candidate {
  /** Id in the vocabulary. */
  id: number;
  /** Location tokens are `<loc_0>` to `<loc_999>`. */
  kind: 'text' | 'location' | 'special';
  /** Whether generation forced this token (the first one, and the last at the token limit). */
  forced: boolean;
  /** Rank by probability; 1 is the most probable token. */
  rank: number;
  /** Entropy of the distribution at this position, in nats. */
  entropy: number;
  /** The most probable tokens at this position, best first, which may include the token itself. */
  alternatives: Candidate[];
  /** The coordinate of a location token that belongs to a region, in pixels of the original. */
  coordinate?: { axis: 'x' | 'y'; value: number };
}

/** A region of the image that the answer describes. */
export interface Region {
  /** Kind of outline; polygons may have several outlines. */
  kind: 'box' | 'quad' | 'polygon';
  /** Label or recognised text; empty without one. */
  label: string;
  /** Confidence, 0 to 1, if the result has one. */
  confidence?: number;
  /** CSS colour, `#rrggbb`. */
  color: string;
  /** Closed outlines in pixels of the original, `[x1, y1, x2, y2, …]`. */
  outlines: number[][];
  /** Indices of the tokens with its coordinates. */
  locationTokens: number[];
  /** Indices of the tokens with its label. */
  labelTokens: number[];
}

/** Cross-attention of every token, layer and head over the encoder's S = 1 + rows · columns + prompt positions. */
export interface CrossAttention {
  /** Number of decoder layers. */
  layers: number;
  /** Number of heads per layer. */
  heads: number;
  /** Rows of the image's map. */
  rows: number;
  /** Columns of the image's map. */
  columns: number;
  /** The prompt's tokens as text. */
  prompt: string[];
  /** The attention weights. */
  weights: PackedRows; // [T, layers, heads, S]
}

/**
 * Rows of non-negative numbers in one byte each: value = peak of the row · (byte / 255)². The square gives more
 * resolution to values far below the peak, as most attention weights are. `bytes` and `peaks` are gzip in base64.
 */
export interface PackedRows {
  /** Shape of the values, [..., S]. */
  shape: number[];
  /** uint8, [..., S] */
  bytes: string;
  /** float32, little-endian, one per row */
  peaks: string;
}

/** The logit lens: the predictions from each layer's output as if it were the last. */
export interface Lens {
  /** Names of the layers, beginning with the decoder's input. */
  layers: string[];
  /** The most probable tokens, best first. [layers][T][k] */
  top: Candidate[][][];
  /** Probability of the answer's token. [layers][T] */
  said: number[][];
}

/** Mean L2 norms of the activations in one part of the model, by block. */
export interface NormPanel {
  /** Name of the part. */
  part: string;
  /** Names of the blocks. */
  blocks: string[];
  /**
   * Groups of adjacent blocks, such as the stages of the vision tower: index of the first block, and the group's name.
   */
  groups: { from: number; label: string }[];
  /** One series per kind of activation; null for blocks without it. */
  series: { name: string; values: (number | null)[] }[]; // each [blocks]
}
