import * as tf from '@tensorflow/tfjs';
import { loadConfig } from '../../src/checkpoint/load_config.ts';
import { loadParameters } from '../../src/checkpoint/load_parameters.ts';
import type { DecodingSession, GeneratedSequence } from '../../src/generation/decoding.ts';
import { generateSequences } from '../../src/generation/generate.ts';
import { type GenerationOptions, resolveGeneration } from '../../src/generation/options.ts';
import { CachedSession, UncachedSession } from '../../src/generation/session.ts';
import { HookRegistry, noHooks } from '../../src/hooks/hooks.ts';
import { fastestExecutor } from '../../src/model/fastest_executor.ts';
import { Florence2Model } from '../../src/model/florence2_model.ts';
import { openFolder } from '../../src/platform/node.ts';
import { canonicalCheckpoint } from '../../src/weights/canonical.ts';
import { openCheckpoint } from '../../src/weights/checkpoint.ts';
import { openSafetensors } from '../../src/weights/safetensors_file.ts';
import { reference } from '../reference.ts';

/** Options of a generation for some rows of the inputs. */
export interface GenerateOptions extends GenerationOptions {
  /** Default: all rows. */
  rows?: number[];
  /** Masks padding and cuts it beyond the longest prompt. false: the encoder attends to padding. Default true. */
  masked?: boolean;
  /** Replaces the checkpoint's end token. */
  eosTokenIds?: readonly number[];
  signal?: AbortSignal;
  /** Called before each step with the number of steps so far. */
  onStep?: (steps: number) => void;
}

/** A reference checkpoint with the inputs of its variant, whose images are encoded. */
export class ReferenceModel {
  private constructor(
    private readonly model: Florence2Model,
    private readonly features: tf.Tensor3D, // [B, 1 + N, D]
    private readonly prompts: number[][],
    private readonly mask: number[][],
  ) {}

  static async open(variant: string, layout: string): Promise<ReferenceModel> {
    const folder = reference(`model/${variant}/${layout}`);
    const model = new Florence2Model((await loadConfig(openFolder(folder))).config);
    const checkpoint = await openCheckpoint(openFolder(folder));
    await loadParameters(model, await canonicalCheckpoint(checkpoint));
    await checkpoint.close();
    model.executor = await fastestExecutor(model);
    const inputs = await openSafetensors(reference(`model/${variant}/inputs.safetensors`));
    const shape = (name: string) => inputs.tensors.get(name)!.shape;
    const table = async (name: string): Promise<number[][]> => {
      const [rows, columns] = shape(name);
      const flat = await inputs.readInt32(name);
      return Array.from({ length: rows }, (_, row) => [...flat.subarray(row * columns, (row + 1) * columns)]);
    };
    const [prompts, mask] = [await table('text_input_ids'), await table('text_attention_mask')];
    const pixels = await inputs.readFloat32('pixel_values');
    const features = tf.tidy(() => {
      const images = tf.tensor4d(pixels, shape('pixel_values') as [number, number, number, number]); // [B, 3, H, W]
      return model.encodeImage(tf.transpose(images, [0, 2, 3, 1]), noHooks);
    });
    await inputs.close();
    const opened = new ReferenceModel(model, features, prompts, mask);
    await opened.generate({ rows: [0], maxNewTokens: 2 }); // creates the copies of weights that are derived on first use
    return opened;
  }

  get batch(): number {
    return this.prompts.length;
  }

  get maxPositions(): number {
    return this.model.config.text.maxPositionEmbeddings;
  }

  async generate(options: GenerateOptions): Promise<GeneratedSequence[][]> {
    const {
      rows = [...this.prompts.keys()],
      masked = true,
      eosTokenIds = [2],
      signal,
      onStep,
      ...generation
    } = options;
    const settings = resolveGeneration(generation, { eosTokenIds }, this.model.config.text);
    const length = masked ? Math.max(...rows.map(row => this.mask[row].lastIndexOf(1) + 1)) : this.mask[0].length;
    const cut = (table: number[][]) => {
      return tf
        .tensor2d(
          table.map(row => row.slice(0, length)),
          undefined,
          'int32',
        )
        .gather(tf.tensor1d(rows, 'int32'));
    };
    const [ids, mask, features] = tf.tidy(() => [
      cut(this.prompts),
      cut(this.mask),
      tf.gather(this.features, tf.tensor1d(rows, 'int32')),
    ]) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor3D];
    const memory = this.model.encodePrompt(features, ids, masked ? mask : null, noHooks);
    const Session = settings.useCache ? CachedSession : UncachedSession;
    const session = new Session(this.model, memory, settings.numBeams, new HookRegistry());
    tf.dispose([ids, mask, features, memory.states, memory.mask ?? []]);
    try {
      return await generateSequences(onStep ? watched(session, onStep) : session, settings, signal);
    } finally {
      session.dispose();
    }
  }

  dispose(): void {
    this.features.dispose();
    this.model.dispose();
  }
}

function watched(session: DecodingSession, onStep: (steps: number) => void): DecodingSession {
  let steps = 0;
  return {
    get rows() {
      return session.rows;
    },
    step(tokens) {
      onStep(steps++);
      return session.step(tokens);
    },
    reorder: index => session.reorder(index),
    dispose: () => session.dispose(),
  };
}
