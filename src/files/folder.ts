/** Bytes that can be read at any position: an open file, or a URL whose server supports ranges. */
export interface ByteSource {
  /** The path or URL, for messages. */
  readonly path: string;
  /** True if `path` is a file on disk that has these bytes at these positions. */
  readonly isFile?: true;
  readonly size: number;
  /**
   * Fills `target` with the bytes from `position`.
   *
   * @param what what is read, for messages
   * @throws Florence2Error if the source ends early or cannot be read
   */
  read(target: Uint8Array, position: number, what: string): Promise<void>;
  close(): Promise<void>;
}

/**
 * The content of a file to write: all of it, or chunks that are produced while the file is written. A chunk may be
 * overwritten once the next one is requested.
 */
export type FileContent = Uint8Array | AsyncIterable<Uint8Array>;

/** Files under one root: a directory on disk, or a base URL in a browser. File names have no folder part. */
export interface Folder {
  /** The directory or URL, for messages. */
  readonly path: string;
  /** The path or URL of a file, for messages. */
  pathOf(name: string): string;
  /** Whether the folder exists. */
  exists(): Promise<boolean>;
  /** Reads a file; undefined if it does not exist. @throws Florence2Error if it exists but cannot be read */
  read(name: string): Promise<Uint8Array | undefined>;
  /** Opens a file for positioned reads; undefined if it does not exist. @throws Florence2Error as `read` does */
  open(name: string): Promise<ByteSource | undefined>;
  /**
   * Writes a file and creates the folder if it is missing. The file is replaced as a whole: if writing fails, what was
   * there before stays.
   *
   * @throws Florence2Error if the file cannot be written, and whatever producing a chunk throws
   */
  write(name: string, content: FileContent): Promise<void>;
  /**
   * Writes several files, by name. A folder that did not exist appears when all of them are complete; in an existing
   * folder they are replaced one by one after all are complete.
   *
   * @throws Florence2Error as `write` does; nothing has changed then unless replacing failed
   */
  writeAll(files: ReadonlyMap<string, FileContent>): Promise<void>;
}

/** Reads a file as UTF-8; undefined if it does not exist. A byte order mark is kept. */
export async function readText(folder: Folder, name: string): Promise<string | undefined> {
  const bytes = await folder.read(name);
  return bytes && new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
}
