/** What an engine of peers.ts is asked to do. */
export interface Job {
  what: 'vision' | 'encoder' | 'decode' | 'file';
  batch: number;
  /** Of `decode` and `file`. */
  tokens?: number;
  /** Of `decode` and `file`: beams, or as many equal rows where an engine has no search. Default 1. */
  beams?: number;
}

/** Seconds that a job took; of `decode` for each token. `ids` are the first row's tokens. */
export interface Done {
  seconds: number;
  ids?: number[];
}
