import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import { type FilePlace, readWeight } from './kernels.ts';

/** How a checkpoint's tensor lies in memory here. The values are the checkpoint's, only their order differs. */
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
  /** Stands in for this parameter as long as it is set: an adapter's own values, or merged ones. */
  override: Parameter | null = null;
  private tensor?: tf.Tensor;

  /**
   * @param shape as in the checkpoint
   * @param optional a checkpoint may lack it: ask `loaded` before `value`
   * @param tiedTo whose value this one has while it has none of its own
   */
  constructor(
    readonly name: string,
    public shape: number[],
    readonly layout: Layout = 'plain',
    readonly optional = false,
    readonly tiedTo: Parameter | null = null,
  ) {}

  /** Whether there are values of its own, not those that it is tied to. */
  get loaded(): boolean {
    return this.override !== null || this.tensor !== undefined;
  }

  get value(): tf.Tensor {
    return this.override?.value ?? this.tensor ?? this.tiedTo?.value ?? this.missing();
  }

  /** The value under what stands in for it. */
  get original(): tf.Tensor {
    return this.tensor ?? this.tiedTo?.original ?? this.missing();
  }

  /** Takes the values, in the checkpoint's order. */
  load(data: Float32Array): void {
    this.dispose();
    this.tensor = tf.tidy(() => {
      const tensor = tf.tensor(data, this.shape, 'float32');
      return tf.keep(this.layout === 'plain' ? tensor : tf.transpose(tensor, TO_MEMORY[this.layout]));
    });
  }

  /** As `load`, straight out of a file; on backends that have the kernel ReadWeight. */
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
   * A tensor that lies in memory as this parameter does, its value or its gradient, in the checkpoint's order. The
   * caller disposes it.
   */
  inCheckpointOrder(tensor: tf.Tensor): tf.Tensor {
    return this.layout === 'plain' ? tensor.clone() : tf.transpose(tensor, TO_CHECKPOINT[this.layout]);
  }

  /** Takes new values in the order of memory, of the shape of `value`. The tensor belongs to the parameter from now on. */
  replace(tensor: tf.Tensor): void {
    this.dispose();
    this.tensor = tf.keep(tensor);
  }

  /** Takes a table of another length, whose order in memory is the checkpoint's. */
  resize(table: tf.Tensor): void {
    this.shape = table.shape;
    this.replace(table);
  }

  dispose(): void {
    this.tensor?.dispose();
    this.tensor = undefined;
  }

  private missing(): never {
    throw new Florence2Error(`The parameter ${this.name} has not been loaded.`);
  }
}

/** What an adapter adds to the output of one layer: s · (drop(x) A) B. Hu et al. 2021, https://arxiv.org/abs/2106.09685. */
export interface LowRank {
  readonly a: Parameter; // [in, r], of a convolution [kh, kw, in, r] in memory
  readonly b: Parameter; // [r, out], of a convolution [1, 1, r, out] in memory
  /** s */
  readonly scale: number;
  /** Dropout of the layer's input while the adapter is trained, otherwise the input itself. */
  drop<T extends tf.Tensor>(x: T): T;
}

/** A layer with a slot for adapters. */
export interface Adaptable {
  readonly weight: Parameter;
  /** Null when there is none, so that an empty slot costs one comparison. */
  adapters: readonly LowRank[] | null;
}

/**
 * Declares parameters below a path. A module's constructor walks the checkpoint's names with it,
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

  at(module: string | number): Params {
    return new Params(this.join(String(module)), this.declared, this.layers);
  }

  parameter(leaf: string, shape: number[], layout: Layout = 'plain'): Parameter {
    return this.declare(new Parameter(this.join(leaf), shape, layout));
  }

  optional(leaf: string, shape: number[], tiedTo: Parameter | null = null): Parameter {
    return this.declare(new Parameter(this.join(leaf), shape, 'plain', true, tiedTo));
  }

  /** Makes the layer at this path known to adapters. */
  adaptable(layer: Adaptable): void {
    this.layers.set(this.path, layer);
  }

  /** Every parameter declared so far, in the model's order. */
  get all(): ReadonlyMap<string, Parameter> {
    return this.declared;
  }

  /** Every layer declared so far that adapters may be added to, by path. */
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
