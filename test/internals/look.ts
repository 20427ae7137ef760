import { fileURLToPath } from 'node:url';
import { Florence2 } from '../../src/florence2.ts';
import { testBackend } from '../backend.ts';

export const street: string = fileURLToPath(new URL('../../docs/pictures/street.jpg', import.meta.url));

/** The demo checkpoint on images of 96×96, a map of 3×3: small enough to be looked into again and again. */
export const openDemo = (): Promise<Florence2> =>
  Florence2.load(fileURLToPath(new URL('../../weights/demo', import.meta.url)), {
    backend: testBackend,
    imageSize: 96,
  });
