import * as tf from '@tensorflow/tfjs';
import type { Florence2Config } from '../config/model.ts';
import { Florence2Error } from '../errors.ts';
import type { Hooks } from '../hooks/hooks.ts';
import { Embedding, LayerNorm, Linear } from '../nn/layers.ts';
import type { Parameter, Params } from '../nn/params.ts';

/**
 * Turns DaViT's last map into tokens of the language model: adds position embeddings, puts the mean over all positions
 * first, and projects and normalises each token. Parameters are named as in transformers'
 * `Florence2MultiModalProjector`.
 */
export class Projector {
  readonly rowEmbeddings: Embedding;
  readonly columnEmbeddings: Embedding;
  readonly temporalEmbeddings: Parameter; // [frames, C], sinusoids
  readonly imageProjection: Linear;
  readonly imageProjNorm: LayerNorm;
  private readonly maxPositions: number;

  constructor(p: Params, { vision, projectionDim }: Florence2Config) {
    const dim = vision.dimEmbed.at(-1)!;
    const columnDim = Math.floor(dim / 2);
    this.maxPositions = vision.imagePositionEmbeddings;
    const positions = p.at('image_position_embed');
    this.rowEmbeddings = new Embedding(positions.at('row_embeddings'), this.maxPositions, columnDim);
    this.columnEmbeddings = new Embedding(positions.at('column_embeddings'), this.maxPositions, dim - columnDim);
    this.temporalEmbeddings = p.parameter('visual_temporal_embed.pos_idx_to_embed', [vision.temporalEmbeddings, dim]);
    this.imageProjection = new Linear(p.at('image_projection'), dim, projectionDim, { bias: false });
    this.imageProjNorm = new LayerNorm(p.at('image_proj_norm'), projectionDim);
  }

  /** map [B, H, W, C] -> image features [B, 1 + H·W, projectionDim], the mean token first */
  forward(map: tf.Tensor4D, h: Hooks): tf.Tensor3D {
    const [B, H, W, C] = map.shape;
    if (Math.max(H, W) > this.maxPositions) {
      throw new Florence2Error(
        `The image has a map of ${W}×${H} positions, but the checkpoint has position embeddings for ${this.maxPositions} per side. Use a smaller image size.`,
      );
    }
    return tf.tidy(() => {
      const positions = h.at('hook_pos_embed', this.positions(H, W)); // [H, W, C]
      const frame = tf.slice(this.temporalEmbeddings.value as tf.Tensor2D, [0, 0], [1, C]); // an image is frame 0 of a video
      const temporal = h.at('hook_temporal_embed', frame); // [1, C]
      const tokens = tf.reshape(tf.add(tf.add(map, positions), temporal), [B, H * W, C]);
      const pooled = h.at('hook_pooled', tf.concat([tf.mean(tokens, 1, true), tokens], 1) as tf.Tensor3D); // [B, 1 + H·W, C]
      const projected = h.at('hook_projected', this.imageProjection.forward(pooled)); // [B, 1 + H·W, projectionDim]
      return h.at('hook_image_features', this.imageProjNorm.forward(projected, h.in('image_proj_norm')));
    });
  }

  /** Returns position embeddings [H, W, C]: the column's in the first half of the channels, the row's in the second. */
  private positions(H: number, W: number): tf.Tensor3D {
    const columns = tf.expandDims(this.columnEmbeddings.rows(0, W), 0); // [1, W, C/2]
    const rows = tf.expandDims(this.rowEmbeddings.rows(0, H), 1); // [H, 1, C/2]
    return tf.concat([tf.tile(columns, [H, 1, 1]), tf.tile(rows, [1, W, 1])], 2) as tf.Tensor3D;
  }
}
