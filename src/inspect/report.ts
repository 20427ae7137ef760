/** What a report holds: plain data, as it stands in the page as JSON. */
export interface Report {
  /** What is shown in the head of the page. */
  title: string;
  model: { name: string; adapter?: string; backend: string };
  image: ReportImage;
  /** A task token, or `prompt`. */
  task: string;
  /** The question that the model was asked. */
  prompt: string;
  /** The answer as text, location tokens included, and whether the token limit has cut it. */
  answer: { text: string; truncated: boolean };
  tokens: ReportToken[]; // [T]
  regions: Region[];
  attention: CrossAttention;
  lens: Lens;
  norms: NormPanel[];
}

export interface ReportImage {
  /** Of the file. */
  name: string;
  /** A data URL. */
  src: string;
  /** Of the original, which coordinates count in. */
  width: number;
  height: number;
}

/** A token that may stand at a position, and the model's probability of it, 0 to 1. */
export interface Candidate {
  text: string;
  p: number;
}

/** One token of the answer. */
export interface ReportToken extends Candidate {
  id: number;
  kind: 'text' | 'location' | 'special';
  /** The decoder had no choice here (the first token, the last at the limit). */
  forced: boolean;
  /** Of its probability: 1 is the most probable token. */
  rank: number;
  /** Of the whole distribution at this position, in nats. */
  entropy: number;
  /** The most probable tokens at this position, best first; the token itself may be among them. */
  alternatives: Candidate[];
  /** Of a location token that is a part of a region: which coordinate it gives, in pixels of the original. */
  coordinate?: { axis: 'x' | 'y'; value: number };
}

/** Something in the image that the answer names. */
export interface Region {
  kind: 'box' | 'quad' | 'polygon';
  /** Empty where it has none. */
  label: string;
  score?: number;
  color: string;
  /** Closed outlines in pixels of the original, `[x1, y1, x2, y2, …]`. */
  outlines: number[][];
  /** Which tokens say where it is, and which say what it is. */
  locationTokens: number[];
  labelTokens: number[];
}

/** Cross-attention of every token, layer and head over the encoder's S = 1 + rows · columns + prompt positions. */
export interface CrossAttention {
  layers: number;
  heads: number;
  rows: number;
  columns: number;
  /** The prompt's tokens as text. */
  prompt: string[];
  weights: PackedRows; // [T, layers, heads, S]
}

/**
 * Rows of numbers from 0 on in one byte each: value = peak of the row · (byte / 255)². The square keeps what is small
 * beside the peak, as most of attention is. Both parts are gzip as base64.
 */
export interface PackedRows {
  shape: number[];
  /** uint8, [..., S] */
  bytes: string;
  /** float32, little-endian, one for each row */
  peaks: string;
}

/** The logit lens: what each layer's output would say if it were the last. */
export interface Lens {
  /** Names of the layers, the decoder's input first. */
  layers: string[];
  /** The most probable tokens, best first. [layers][T][k] */
  top: Candidate[][][];
  /** Probability of the token that was said. [layers][T] */
  said: number[][];
}

/** Mean L2 norms of activations, block by block, of one part of the model. */
export interface NormPanel {
  part: string;
  blocks: string[];
  /** Blocks that belong together, as the stages of the vision tower: where one begins, and what it is called. */
  groups: { from: number; label: string }[];
  series: { name: string; values: (number | null)[] }[]; // each [blocks]
}
