import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { type Pack, pack } from 'tar-stream';
import { readWholeFile } from '../../files/whole_file.ts';
import { makeFolder } from '../../files/write.ts';
import type { DatasetWriter, OutputFolder } from './output.ts';

/** Most samples and bytes of a shard. */
const MOST_SAMPLES = 10_000;
const MOST_BYTES = 1 << 30;

/**
 * Writes `<split>/shard-000000.tar`, …: of each image its file, the first caption as `.txt`, and all annotations as `.json`,
 * in pixels of the stored image, with the fields of `AnnotatedImage`.
 */
export function webdatasetWriter({ folder }: OutputFolder): DatasetWriter {
  let shard: Shard | undefined;
  let split = '';
  let count = 0;
  return {
    async add({ image, size, objects, captions, texts, targets, ...place }) {
      if (!shard || split !== place.split || shard.samples >= MOST_SAMPLES || shard.bytes >= MOST_BYTES) {
        await shard?.close();
        count = split === place.split ? count : 0;
        split = place.split;
        shard = await Shard.create(join(folder, split), `shard-${String(count++).padStart(6, '0')}.tar`);
      }
      const [, stem, extension] = /^(.*?)(\.[^./]*)$/.exec(place.file) ?? ['', place.file, '.jpg'];
      const key = `${String(shard.samples).padStart(6, '0')}/${stem.replaceAll('.', '_')}`;
      const bytes = typeof image === 'string' ? await readWholeFile(image) : (image as Uint8Array);
      await shard.add(`${key}${extension.toLowerCase()}`, bytes);
      if (captions.length > 0) await shard.add(`${key}.txt`, captions[0]);
      const questions = targets.map(({ source: _, ...target }) => target);
      await shard.add(`${key}.json`, JSON.stringify({ ...size, objects, captions, texts, targets: questions }));
      shard.samples++;
    },
    finish: async () => shard?.close(),
  };
}

class Shard {
  samples = 0;
  bytes = 0;

  private constructor(
    private readonly tar: Pack,
    private readonly done: Promise<void>,
  ) {}

  static async create(folder: string, name: string): Promise<Shard> {
    await makeFolder(folder);
    const tar = pack();
    const file = createWriteStream(join(folder, name));
    tar.pipe(file);
    return new Shard(tar, finished(file));
  }

  async add(name: string, content: Uint8Array | string): Promise<void> {
    const bytes = Buffer.from(content as Uint8Array);
    this.bytes += bytes.length;
    // A fixed date, so that equal datasets are equal files.
    const entry = this.tar.entry({ name, size: bytes.length, mtime: new Date(0) });
    entry.end(bytes);
    await Promise.race([once(entry, 'finish'), this.done]);
  }

  async close(): Promise<void> {
    this.tar.finalize();
    await this.done;
  }
}
