/** Bytes at a position: a file here, anything that can be read in ranges elsewhere. */
export interface ByteSource {
  readonly path: string;
  /** Whether `path` is that of a file with these bytes at these positions. */
  readonly isFile?: true;
  readonly size: number;
  /** Fills `target` from `position`. Throws a Florence2Error which says what was being read when the source ends early. */
  read(target: Uint8Array, position: number, what: string): Promise<void>;
  close(): Promise<void>;
}
