import * as tf from '@tensorflow/tfjs';
import { Florence2Error, UsageError } from '../errors.ts';
import { type FilePlace, readWeight } from './kernels.ts';
import { onBackendOf } from './on_backend.ts';

/** The layout of a checkpoint's tensor in memory. The values are the checkpoint's; only their order differs. */
export type Layout =
  | 'plain' //     as in the checkpoint
  | 'linear' //    [out, in] -> [in, out]
  | 'conv' //      [out, in, kh, kw] -> [kh, kw, in, out]
  | 'depthwise'; // [C, 1, kh, kw] -> [kh, kw, C, 1]

const TO_MEMORY: Record<Exclude<Layout, 'plain'>, number[]> = {
  linear: [1, 0],
  conv: [2, 3, 1, 0],
  depthwise: [2, 3, 0, 1],
};
const TO_CHECKPOINT: typeof TO_MEMORY = {
  linear: [1, 0],
  conv: [3, 2, 0, 1],
  depthwise: [2, 3, 0, 1],
};

/** One tensor of the model, under its canonical name. Empty until a checkpoint fills it. */
export class Parameter {
  /** Replaces this parameter's value while it is set: an adapter's values, or merged weights. */
  override: Parameter | null = null;
  private tensor?: tf.Tensor;
  private disposed = false;

  /**
   * @param shape as in the checkpoint
   * @param optional whether a checkpoint may lack it; then check `loaded` before reading `value`
   * @param tiedTo parameter whose value this one has until it is loaded
   */
  constructor(
    readonly name: string,
    public shape: number[],
    readonly layout: Layout = 'plain',
    readonly optional = false,
    readonly tiedTo: Parameter | null = null,
  ) {}

  /** Whether it has a value, apart from that of `tiedTo`. */
  get loaded(): boolean {
    return this.override !== null || this.tensor !== undefined;
  }

  /** @throws Florence2Error if it has not been loaded */
  get value(): tf.Tensor {
    return this.override?.value ?? this.tensor ?? this.tiedTo?.value ?? this.missing();
  }

  /** The value without `override`. */
  get original(): tf.Tensor {
    return this.tensor ?? this.tiedTo?.original ?? this.missing();
  }

  /** Sets the value from data in the checkpoint's order. */
  load(data: Float32Array): void {
    this.dispose();
    this.tensor = tf.tidy(() => {
      const tensor = tf.tensor(data, this.shape, 'float32');
      return tf.keep(this.layout === 'plain' ? tensor : tf.transpose(tensor, TO_MEMORY[this.layout]));
    });
  }

  /** Like `load`, but the backend reads the file itself. Requires the kernel ReadWeight. */
  loadFrom(place: FilePlace): void {
    this.dispose();
    this.tensor = tf.tidy(() => {
      const columns = this.shape.at(-1)!;
      const rows = tf.util.sizeFromShape(this.shape) / columns;
      if (this.layout === 'linear') return tf.keep(readWeight(place, rows, columns, true));
      const tensor = tf.reshape(readWeight(place, rows, columns, false), this.shape);
      return tf.keep(this.layout === 'plain' ? tensor : tf.transpose(tensor, TO_MEMORY[this.layout]));
    });
  }

  /**
   * Returns a tensor of this parameter's layout, such as its value or gradient, in the checkpoint's order. The caller
   * disposes it.
   */
  inCheckpointOrder(tensor: tf.Tensor): tf.Tensor {
    const { layout } = this;
    return onBackendOf(tensor, () =>
      layout === 'plain' ? tensor.clone() : tf.transpose(tensor, TO_CHECKPOINT[layout]),
    );
  }

  /** Sets the value to a tensor of the shape and layout of `value`. The parameter takes ownership of it. */
  replace(tensor: tf.Tensor): void {
    this.dispose();
    this.tensor = tf.keep(tensor);
  }

  /** Sets the value and the shape to those of a table with another number of rows, in layout `plain`. */
  resize(table: tf.Tensor): void {
    this.shape = table.shape;
    this.replace(table);
  }

  dispose(): void {
    this.disposed = this.tensor !== undefined;
    this.tensor?.dispose();
    this.tensor = undefined;
  }

  private missing(): never {
    if (!this.disposed) throw new Florence2Error(`The parameter ${this.name} has not been loaded.`);
    throw new UsageError('The model, or an adapter of it, has been disposed: load it again.', { code: 'DISPOSED' });
  }
}

/** An adapter of one layer: adds s · (drop(x) A) B to its output. Hu et al. 2021, https://arxiv.org/abs/2106.09685. */
export interface LowRank {
  readonly a: Parameter; // [in, r], of a convolution [kh, kw, in, r] in memory
  readonly b: Parameter; // [r, out], of a convolution [1, 1, r, out] in memory
  /** s, the factor of the product. */
  readonly scale: number;
  /** Applies dropout to the layer's input during training; returns the input unchanged otherwise. */
  drop<T extends tf.Tensor>(x: T): T;
}

/** A layer that adapters can be added to. */
export interface Adaptable {
  readonly weight: Parameter;
  /** null without adapters, so that the check costs one comparison. */
  adapters: readonly LowRank[] | null;
}

/** What adapters add to a network. */
export interface Adaptation {
  /** The adapters of layers, by canonical module name. */
  readonly layers: ReadonlyMap<string, readonly LowRank[]>;
  /** Parameters that replace the network's, by name. */
  readonly parameters: ReadonlyMap<string, Parameter>;
}

/** The network without adapters. */
export const unadapted: Adaptation = { layers: new Map(), parameters: new Map() };

/**
 * Declares the parameters below a path. A module's constructor follows the checkpoint's names with it,
 * `p.at('self_attn').parameter('q_proj.weight', [D, D])`, so that the source reads like the file.
 */
export class Params {
  private constructor(
    readonly path: string,
    private readonly declared: Map<string, Parameter>,
    private readonly layers: Map<string, Adaptable>,
  ) {}

  static root(): Params {
    return new Params('', new Map(), new Map());
  }

  /** Returns the declarations of a child module. */
  at(module: string | number): Params {
    return new Params(this.join(String(module)), this.declared, this.layers);
  }

  /** Declares a parameter. `shape` is that of the checkpoint. */
  parameter(leaf: string, shape: number[], layout: Layout = 'plain'): Parameter {
    return this.declare(new Parameter(this.join(leaf), shape, layout));
  }

  /** Declares a parameter that a checkpoint may lack. */
  optional(leaf: string, shape: number[], tiedTo: Parameter | null = null): Parameter {
    return this.declare(new Parameter(this.join(leaf), shape, 'plain', true, tiedTo));
  }

  /** Registers the layer at this path as one that adapters can be added to. */
  adaptable(layer: Adaptable): void {
    this.layers.set(this.path, layer);
  }

  /** Every parameter declared so far, in the model's order. */
  get all(): ReadonlyMap<string, Parameter> {
    return this.declared;
  }

  /** Every layer registered so far with `adaptable`, by path. */
  get adaptables(): ReadonlyMap<string, Adaptable> {
    return this.layers;
  }

  private declare(parameter: Parameter): Parameter {
    if (this.declared.has(parameter.name)) throw new Error(`Parameter ${parameter.name} is declared twice.`);
    this.declared.set(parameter.name, parameter);
    return parameter;
  }

  private join(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`;
  }
}
