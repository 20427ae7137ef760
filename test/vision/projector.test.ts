import type * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import { noHooks } from '../../src/hooks/hooks.ts';
import '../backend.ts';
import { activationAt, dumpedBlocks, visionDumps } from '../dumps.ts';

for (const dump of visionDumps) {
  const { multiModalProjector: projector } = dump.model;
  const map = `${dumpedBlocks(dump.model, 'channel').at(-1)!.at}.out`;

  for (const leaf of ['pos_embed', 'temporal_embed', 'pooled']) {
    test(`${dump.name}: projector.${leaf} equals PyTorch's`, () =>
      dump.compare(`projector.${leaf}`, [map], (x: tf.Tensor4D) => {
        return activationAt(`hook_${leaf}`, h => projector.forward(x, h));
      }));
  }

  test(`${dump.name}: the projection, its norm and the whole projector equal PyTorch's`, async () => {
    const { imageProjection, imageProjNorm } = projector;
    await dump.compare('projector.projected', ['projector.pooled'], (x: tf.Tensor3D) => imageProjection.forward(x));
    await dump.compare('projector.image_features', ['projector.projected'], (x: tf.Tensor3D) =>
      imageProjNorm.forward(x),
    );
    await dump.compare('projector.image_features', [map], (x: tf.Tensor4D) => projector.forward(x, noHooks));
  });
}

test.run();
