import { fileURLToPath } from 'node:url';
import { Florence2 } from '../../src/florence2.ts';
import { testBackend } from '../backend.ts';
import { tinyCheckpoint } from '../tiny_checkpoint.ts';

export const street: string = fileURLToPath(new URL('../../docs/pictures/street.jpg', import.meta.url));

/** Loads a tiny model with random weights, for images of 96×96 and a map of 3×3. */
export async function openTiny(imageSize = 96): Promise<Florence2> {
  return Florence2.load(await tinyCheckpoint(1), { backend: testBackend, imageSize });
}
