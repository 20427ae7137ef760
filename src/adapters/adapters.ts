import * as tf from '@tensorflow/tfjs';
import { UsageError } from '../errors.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { lowRankDelta } from '../nn/low_rank.ts';
import { Parameter } from '../nn/params.ts';
import { createLora, type Lora, type LoraOptions } from './lora.ts';
import type { SaveAdapterOptions } from './write.ts';

export interface LoadAdapterOptions {
  /** Default `default`. */
  name?: string;
  /** How much of it counts. Default 1, as trained. */
  scale?: number;
}

/**
 * The adapters of one model: any number of them by name, of which none, one or several are active. Image features that
 * were encoded before a change keep what the adapters of that time made of them.
 */
export class Adapters {
  private readonly loaded = new Map<string, Lora>();
  private activeNames: string[] = [];
  /** The weights with the active adapters in them, while they are merged. */
  private merged: Parameter[] | null = null;

  constructor(private readonly model: Florence2Model) {}

  get names(): string[] {
    return [...this.loaded.keys()];
  }

  /** Those that have an effect now. */
  get active(): string[] {
    return [...this.activeNames];
  }

  get isMerged(): boolean {
    return this.merged !== null;
  }

  /** @throws UsageError when there is none of this name */
  get(name: string): Lora {
    const lora = this.loaded.get(name);
    if (lora) return lora;
    const others = this.names.length > 0 ? `those loaded: ${this.names.join(', ')}` : 'none is loaded';
    throw new UsageError(`There is no adapter named ${name}; ${others}.`);
  }

  /**
   * Loads an adapter from a folder as PEFT saves it (adapter_config.json and adapter_model.safetensors or .bin), with
   * module names of transformers or of Microsoft's code, and makes it the active one. For Node.
   *
   * @throws Florence2Error when it is damaged, does not fit the model or is more than LoRA
   */
  async load(folder: string, { name = 'default', scale = 1 }: LoadAdapterOptions = {}): Promise<Lora> {
    this.requireNew(name);
    requireScale(scale);
    const [{ readAdapter }, { openFolder }] = await Promise.all([import('./read.ts'), import('../platform/node.ts')]);
    const lora = await readAdapter(this.model, openFolder(folder));
    try {
      lora.scale = scale;
      this.add(name, lora);
      return lora;
    } catch (error) {
      lora.dispose();
      throw error;
    }
  }

  /** Writes an adapter as a folder that PEFT, and `load`, can read. For Node. */
  async save(name: string, folder: string, options: SaveAdapterOptions = {}): Promise<void> {
    const lora = this.get(name);
    const { writeAdapter } = await import('./write.ts');
    await writeAdapter(lora, folder, options);
  }

  /** Builds a new adapter, which becomes the active one. It has no effect before it is trained. */
  create(name: string, options: LoraOptions = {}): Lora {
    this.requireNew(name);
    const lora = createLora(this.model, options);
    this.add(name, lora);
    return lora;
  }

  /** Takes an adapter that was built for this model, and makes it the active one. It is freed with the others. */
  add(name: string, lora: Lora): void {
    this.requireNew(name);
    this.loaded.set(name, lora);
    this.activate(name);
  }

  /**
   * Makes these adapters active and all others inactive; none, and the model is as it was loaded.
   *
   * @throws UsageError when two of them have values of their own for the same parameter
   */
  activate(...names: string[]): void {
    this.requireUnmerged();
    this.checkConflicts(names);
    this.activeNames = [...new Set(names)];
    this.fillSlots();
  }

  /** How much of an adapter counts: 1 as trained, 0 nothing, more and negative are possible. Not for replaced values. */
  setScale(name: string, scale: number): void {
    this.requireUnmerged();
    requireScale(scale);
    this.get(name).scale = scale;
  }

  /**
   * Adds the active adapters to the weights, so that they cost nothing. An output layer that is tied to the embeddings
   * gets a weight of its own. The original weights are kept, which takes as much memory as the adapted layers' weights,
   * and `unmerge` brings them back to the bit.
   */
  merge(): void {
    this.requireUnmerged();
    this.merged = [];
    for (const { weight, sum } of this.foldAll()) {
      const merged = new Parameter(weight.name, weight.shape, weight.layout);
      merged.replace(sum);
      this.merged.push(merged);
      weight.override = merged;
    }
  }

  /** Undoes `merge`. */
  unmerge(): void {
    if (!this.merged) throw new UsageError('The adapters are not merged.');
    this.freeMerged();
    this.fillSlots();
  }

  /** Merges the active adapters for good: the original weights and all adapters are freed. */
  mergeAndUnload(): void {
    for (const { weight, sum } of this.foldAll()) {
      weight.override = null;
      weight.replace(sum);
    }
    for (const parameter of this.model.parameters.values()) {
      if (!parameter.override) continue;
      const value = tf.clone(parameter.value);
      parameter.override = null;
      parameter.replace(value);
    }
    this.dispose();
  }

  /** Frees an adapter. */
  remove(name: string): void {
    this.requireUnmerged();
    const lora = this.get(name);
    this.loaded.delete(name);
    this.activate(...this.activeNames.filter(other => other !== name));
    lora.dispose();
  }

  /** Frees all of them; the model is as it was loaded. */
  dispose(): void {
    this.freeMerged();
    this.activeNames = [];
    this.fillSlots();
    for (const lora of this.loaded.values()) lora.dispose();
    this.loaded.clear();
  }

  /** Empties the slots of the layers one by one, and gives each layer's weight with what was in its slot. */
  private *foldAll(): Generator<{ weight: Parameter; sum: tf.Tensor }> {
    for (const layer of this.model.adaptable.values()) {
      const { weight, adapters } = layer;
      if (!adapters) continue;
      const sum = tf.tidy(() => tf.add(weight.value, lowRankDelta(weight, adapters)));
      layer.adapters = null;
      yield { weight, sum };
    }
  }

  /** Brings the model's slots in line with the active adapters. */
  private fillSlots(): void {
    const active = this.activeNames.map(name => this.get(name));
    for (const [module, layer] of this.model.adaptable) {
      const adapters = active.flatMap(({ layers }) => layers.get(module) ?? []);
      layer.adapters = adapters.length > 0 ? adapters : null;
    }
    for (const parameter of this.model.parameters.values()) {
      parameter.override = active.find(({ own }) => own.has(parameter.name))?.own.get(parameter.name) ?? null;
    }
  }

  private freeMerged(): void {
    for (const parameter of this.merged ?? []) parameter.dispose();
    this.merged = null;
  }

  private checkConflicts(names: string[]): void {
    const owners = new Map<string, string>();
    for (const name of new Set(names)) {
      for (const parameter of this.get(name).own.keys()) {
        const other = owners.get(parameter);
        if (other) {
          throw new UsageError(
            `The adapters ${other} and ${name} cannot be active together: both have their own ${parameter}.`,
          );
        }
        owners.set(parameter, name);
      }
    }
  }

  private requireNew(name: string): void {
    this.requireUnmerged();
    if (name === '') throw new UsageError('An adapter needs a name.');
    if (this.loaded.has(name)) throw new UsageError(`There is an adapter named ${name} already: remove it first.`);
  }

  private requireUnmerged(): void {
    if (this.merged) throw new UsageError('The adapters are merged into the weights: unmerge them first.');
  }
}

function requireScale(scale: number): void {
  if (!Number.isFinite(scale)) throw new UsageError(`The scale of an adapter must be a number, not ${scale}.`);
}
