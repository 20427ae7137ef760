import * as tf from '@tensorflow/tfjs';
import { UsageError } from '../errors.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { suggestName } from '../names.ts';
import { lowRankDelta, requireMergeable } from '../nn/low_rank.ts';
import { type Adaptation, type LowRank, Parameter, unadapted } from '../nn/params.ts';
import { checkKind, checkOptions, finite, oneOf, text } from '../options.ts';
import type { Calibration } from '../results/calibration.ts';
import { createLora, type Lora, type LoraOptions } from './lora.ts';
import type { SaveAdapterOptions } from './write.ts';

/** Options for loading an adapter. */
export interface LoadAdapterOptions {
  /** Name of the adapter in this model. Default `default`. */
  name?: string;
  /** Factor of the adapter's effect. Default 1, as trained. */
  scale?: number;
  /** Branch, tag or commit of a hub repository. Default `main`. */
  revision?: string;
  /** Folder of the adapter in the repository or folder. Default: its top. */
  subfolder?: string;
}

/** Returns the folder of an adapter, given as a folder or hub id. */
export type FindAdapter = (name: string, place: Pick<LoadAdapterOptions, 'revision' | 'subfolder'>) => Promise<string>;

/** Names of adapters: one, several, or null for none. */
export type AdapterChoice = string | readonly string[] | null;

/**
 * The LoRA adapters of a model, by name. None, one or several of them are active at a time. Calls use the adapters that
 * are active when they start: changes here do not affect calls that are running. Image features that were encoded
 * earlier are not updated when the active adapters change.
 */
export class Adapters {
  private readonly loaded = new Map<string, Lora>();
  private activeNames: string[] = [];
  /** The merged weights; null if the adapters are not merged. */
  private merged: Parameter[] | null = null;

  /** @param own calibration of the model without adapters */
  constructor(
    private readonly model: Florence2Model,
    private own: Calibration | null = null,
    private readonly find: FindAdapter = async name => name,
  ) {}

  /**
   * The calibration of the confidences: that of the active adapter, without one the model's. Null for an adapter without
   * a calibration, and for several adapters together.
   */
  get calibration(): Calibration | null {
    return this.calibrationOf(this.activeNames);
  }

  set calibration(calibration: Calibration | null) {
    if (this.activeNames.length > 1) throw new UsageError('Only one active adapter can have a calibration.');
    if (this.activeNames.length === 1) this.get(this.activeNames[0]).calibration = calibration;
    else this.own = calibration;
  }

  /** Returns the calibration for a choice of adapters, see `calibration`. */
  calibrationOf(choice: AdapterChoice): Calibration | null {
    const names = namesOf(choice);
    if (names.length === 0) return this.own;
    return names.length === 1 ? this.get(names[0]).calibration : null;
  }

  /** The names of all adapters. */
  get names(): string[] {
    return [...this.loaded.keys()];
  }

  /** The names of the active adapters. */
  get active(): string[] {
    return [...this.activeNames];
  }

  /** Whether the active adapters are merged into the weights. */
  get isMerged(): boolean {
    return this.merged !== null;
  }

  /** Returns an adapter. @throws UsageError if no adapter has this name */
  get(name: string): Lora {
    const lora = this.loaded.get(name);
    if (lora) return lora;
    const hint = this.names.length > 0 ? suggestName(String(name), this.names, 'The adapters') : 'None is loaded.';
    throw new UsageError(`There is no adapter named ${name}. ${hint}`);
  }

  /**
   * Loads an adapter in PEFT's format and makes it the only active one: a folder with adapter_config.json and
   * adapter_model.safetensors or .bin, or the id of such a repository on the hub. Module names may be those of
   * transformers or of Microsoft's code. Node only.
   *
   * @throws Florence2Error if the adapter is damaged, does not fit the model, or uses more than LoRA
   * @throws UsageError if the name is taken, the scale is not finite, or adapters are merged
   */
  async load(folder: string, options: LoadAdapterOptions = {}): Promise<Lora> {
    checkKind('The folder of the adapter', folder, text);
    checkOptions('loadAdapter', options, { name: text, scale: finite, revision: text, subfolder: text });
    const { name = 'default', scale = 1, ...place } = options;
    this.requireNew(name);
    const [{ readAdapter }, { openFolder }] = await Promise.all([import('./read.ts'), import('../platform/node.ts')]);
    const lora = await readAdapter(this.model, openFolder(await this.find(folder, place)));
    try {
      this.applyScale(lora, scale);
      this.add(name, lora);
      return lora;
    } catch (error) {
      lora.dispose();
      throw error;
    }
  }

  /**
   * Writes an adapter to a folder in PEFT's format, which `load` also reads. Node only.
   *
   * @throws UsageError if no adapter has this name
   * @throws Florence2Error if the folder cannot be written
   */
  async save(name: string, folder: string, options: SaveAdapterOptions = {}): Promise<void> {
    const lora = this.get(name);
    checkKind('The folder of the adapter', folder, text);
    checkOptions('Adapters.save', options, { layout: oneOf('native', 'microsoft'), baseModel: text });
    const { writeAdapter } = await import('./write.ts');
    await writeAdapter(lora, folder, options);
  }

  /**
   * Creates a new adapter and makes it the only active one. It has no effect until it is trained.
   *
   * @throws UsageError for invalid options, a name that is taken, or merged adapters
   */
  create(name: string, options: LoraOptions = {}): Lora {
    this.requireNew(name);
    const lora = this.model.compute(() => createLora(this.model, options));
    this.add(name, lora);
    return lora;
  }

  /** Adds an adapter that was built for this model, makes it the only active one, and takes ownership of it. */
  add(name: string, lora: Lora): void {
    this.requireNew(name);
    this.loaded.set(name, lora);
    this.activate(name);
  }

  /**
   * Makes these adapters active and all others inactive. Without names, no adapter is active.
   *
   * @throws UsageError for an unknown name, if two of them replace the same parameter, or while adapters are merged
   */
  activate(...names: string[]): void {
    this.requireUnmerged();
    const adaptation = this.adaptationOf(names);
    this.activeNames = [...new Set(names)];
    this.model.adapt(adaptation);
  }

  /**
   * Returns what a choice of adapters adds to the network.
   *
   * @throws UsageError for an unknown name, if two of them replace the same parameter, or while others are merged
   */
  choose(choice: AdapterChoice): Adaptation {
    const names = namesOf(choice);
    const { activeNames } = this;
    const areActive = names.length === activeNames.length && names.every((name, i) => name === activeNames[i]);
    if (areActive) return this.model.adaptation;
    this.requireUnmerged();
    return this.adaptationOf(names);
  }

  /**
   * Sets the factor of an adapter's effect: 1 as trained, 0 for no effect; larger and negative values are allowed. Does
   * not affect parameters that the adapter replaces. With scale 0, the weights of a DoRA adapter still have its lengths,
   * as in PEFT. Calls that are running with an adapter that computes weights (DoRA, or tables of embeddings) end with a
   * UsageError whose code is `DISPOSED`.
   *
   * @throws UsageError for an unknown name, a scale that is not finite, or while adapters are merged
   */
  setScale(name: string, scale: number): void {
    this.requireUnmerged();
    checkKind('The scale of an adapter', scale, finite);
    this.applyScale(this.get(name), scale);
    this.activate(...this.activeNames);
  }

  /**
   * Merges the active adapters into the weights, so that they take no extra time. An adapted output layer that is tied
   * to the embeddings gets a separate weight. The original weights are kept, which takes as much memory again as the
   * weights of the adapted layers; `unmerge` restores them exactly.
   *
   * @throws UsageError if adapters are merged already, and for an adapter of a depthwise convolution
   */
  merge(): void {
    this.requireUnmerged();
    const { parameters } = this.model.adaptation;
    this.merged = this.sums().map(([weight, sum]) => {
      const merged = new Parameter(weight.name, weight.shape, weight.layout);
      merged.replace(sum());
      return merged;
    });
    const byName = this.merged.map(parameter => [parameter.name, parameter] as const);
    this.model.adapt({ layers: unadapted.layers, parameters: new Map([...parameters, ...byName]) });
  }

  /** Undoes `merge`. @throws UsageError if the adapters are not merged */
  unmerge(): void {
    if (!this.merged) throw new UsageError('The adapters are not merged.');
    this.model.adapt(this.adaptationOf(this.activeNames));
    this.freeMerged();
  }

  /** Merges the active adapters permanently. The original weights and all adapters are disposed. */
  mergeAndUnload(): void {
    this.own = this.calibration;
    const replaced = new Map(this.model.adaptation.parameters);
    for (const [weight, sum] of this.sums()) {
      weight.replace(sum());
      replaced.delete(weight.name);
    }
    this.model.compute(() => {
      for (const [name, { value }] of replaced) this.model.parameters.get(name)!.replace(tf.clone(value));
    });
    this.dispose();
  }

  /**
   * Removes an adapter and disposes it. Calls that are running with it end with a UsageError whose code is `DISPOSED`.
   *
   * @throws UsageError for an unknown name, or while adapters are merged
   */
  remove(name: string): void {
    this.requireUnmerged();
    const lora = this.get(name);
    this.activate(...this.activeNames.filter(other => other !== name));
    this.loaded.delete(name);
    lora.dispose();
  }

  /** Removes and disposes all adapters, as `remove` does. */
  dispose(): void {
    this.activeNames = [];
    this.model.adapt(unadapted);
    this.freeMerged();
    for (const lora of this.loaded.values()) lora.dispose();
    this.loaded.clear();
  }

  /** Returns the weight of each adapted layer, with a function that adds the active adapters to it. */
  private sums(): [weight: Parameter, sum: () => tf.Tensor][] {
    const { model } = this;
    return [...model.adaptation.layers].map(([module, adapters]) => {
      const { weight } = model.adaptable.get(module)!;
      requireMergeable(weight);
      return [weight, () => model.compute(() => tf.tidy(() => tf.add(weight.value, lowRankDelta(weight, adapters))))];
    });
  }

  private adaptationOf(names: readonly string[]): Adaptation {
    this.checkConflicts(names);
    const adapters = [...new Set(names)].map(name => this.get(name));
    if (adapters.length === 0) return unadapted;
    const layers = new Map<string, LowRank[]>();
    for (const [module, layer] of adapters.flatMap(lora => (lora.dora ? [] : [...lora.layers]))) {
      layers.set(module, [...(layers.get(module) ?? []), layer.fixed()]);
    }
    return { layers, parameters: new Map(adapters.flatMap(({ replacements }) => replacements)) };
  }

  private freeMerged(): void {
    for (const parameter of this.merged ?? []) parameter.dispose();
    this.merged = null;
  }

  private checkConflicts(names: readonly string[]): void {
    const owners = new Map<string, string>();
    for (const name of new Set(names)) {
      for (const [parameter] of this.get(name).replacements) {
        const other = owners.get(parameter);
        if (other) {
          throw new UsageError(
            `The adapters ${other} and ${name} cannot be active together: both replace ${parameter}.`,
          );
        }
        owners.set(parameter, name);
      }
    }
  }

  private applyScale(lora: Lora, scale: number): void {
    if (scale === lora.scale) return;
    lora.scale = scale;
    this.model.compute(() => lora.compute());
  }

  private requireNew(name: string): void {
    this.requireUnmerged();
    checkKind('The name of an adapter', name, text);
    if (this.loaded.has(name)) throw new UsageError(`An adapter named ${name} already exists: remove it first.`);
  }

  private requireUnmerged(): void {
    if (this.merged) throw new UsageError('The adapters are merged into the weights: call unmerge first.');
  }
}

const namesOf = (choice: AdapterChoice): readonly string[] => (choice === null ? [] : [choice].flat());
