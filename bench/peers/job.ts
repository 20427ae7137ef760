/** A job for an engine of peers.ts. */
export interface Job {
  what: 'vision' | 'encoder' | 'decode' | 'file';
  batch: number;
  /** For `decode` and `file`: number of new tokens. */
  tokens?: number;
  /** For `decode` and `file`: number of beams, or of equal rows in engines without beam search. Default 1. */
  beams?: number;
}

/** The result: seconds of the job, for `decode` per token. `ids` are the tokens of the first row. */
export interface Done {
  seconds: number;
  ids?: number[];
}
