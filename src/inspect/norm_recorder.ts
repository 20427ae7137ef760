import * as tf from '@tensorflow/tfjs';
import type { ScopedHook } from '../hooks/hooks.ts';
import type { NormPanel } from './report.ts';

const LEAVES = ['hook_resid_post', 'hook_attn_out', 'hook_cross_attn_out', 'hook_mlp_out'];
const PARTS: [part: string, prefix: string][] = [
  ['Vision tower', 'vision_tower.blocks.'],
  ['Encoder', 'language_model.encoder.layers.'],
  ['Decoder', 'language_model.decoder.layers.'],
];

/** Records the norms of activations as they are computed, so that the activations themselves need not be kept. */
export class NormRecorder {
  private readonly norms = new Map<string, tf.Scalar>();

  readonly hook: ScopedHook = [
    name => PARTS.some(([, prefix]) => name.startsWith(prefix)) && LEAVES.some(leaf => name.endsWith(`.${leaf}`)),
    (activation, { name }) => {
      this.norms.get(name)?.dispose();
      this.norms.set(name, tf.keep(tf.tidy(() => tf.mean(tf.norm(activation, 2, -1)) as tf.Scalar)));
    },
  ];

  /** Returns the norms of all passes so far, by part of the model. */
  async panels(): Promise<NormPanel[]> {
    const values = new Map<string, number>();
    for (const [name, norm] of this.norms) values.set(name, (await norm.data())[0]);
    return PARTS.map(([part, prefix]) => panel(part, prefix, values));
  }

  /** Frees the recorded norms. */
  dispose(): void {
    tf.dispose([...this.norms.values()]);
    this.norms.clear();
  }
}

function panel(part: string, prefix: string, norms: ReadonlyMap<string, number>): NormPanel {
  const modules = new Set(
    [...norms.keys()]
      .filter(name => name.startsWith(prefix))
      .map(name => name.slice(prefix.length, name.lastIndexOf('.'))),
  );
  const blocks = [...modules];
  const series = LEAVES.map(name => ({
    name,
    values: blocks.map(block => norms.get(`${prefix}${block}.${name}`) ?? null),
  })).filter(({ values }) => values.some(value => value !== null));
  return { part, blocks: blocks.map(blockName), groups: stages(blocks), series };
}

/** `2.4.channel_block` -> `2.4 channel` */
const blockName = (module: string): string => module.replace(/\.(\w+)_block$/, ' $1');

/** Returns the first block of each stage of the vision tower; empty for other parts. */
function stages(blocks: readonly string[]): NormPanel['groups'] {
  const stageOf = (block: string | undefined) => /^(\d+)\.\d+\./.exec(block ?? '')?.[1];
  return blocks.flatMap((block, from) => {
    const stage = stageOf(block);
    return stage !== undefined && stage !== stageOf(blocks[from - 1]) ? [{ from, label: `stage ${stage}` }] : [];
  });
}
