import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';

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

/** One tensor of the model, under its canonical name. Empty until a checkpoint fills it. */
export class Parameter {
  private tensor?: tf.Tensor;

  /**
   * @param shape as in the checkpoint
   * @param optional a checkpoint may lack it: ask `loaded` before `value`
   */
  constructor(
    readonly name: string,
    readonly shape: number[],
    readonly layout: Layout = 'plain',
    readonly optional = false,
  ) {}

  get loaded(): boolean {
    return this.tensor !== undefined;
  }

  get value(): tf.Tensor {
    if (!this.tensor) throw new Florence2Error(`The parameter ${this.name} has not been loaded.`);
    return this.tensor;
  }

  /** Takes the values, in the checkpoint's order. */
  load(data: Float32Array): void {
    this.dispose();
    this.tensor = tf.tidy(() => {
      const tensor = tf.tensor(data, this.shape, 'float32');
      return tf.keep(this.layout === 'plain' ? tensor : tf.transpose(tensor, TO_MEMORY[this.layout]));
    });
  }

  dispose(): void {
    this.tensor?.dispose();
    this.tensor = undefined;
  }
}

/**
 * Declares parameters below a path. A module's constructor walks the checkpoint's names with it,
 * `p.at('self_attn').parameter('q_proj.weight', [D, D])`, so that the source reads like the file.
 */
export class Params {
  private constructor(
    readonly path: string,
    private readonly declared: Map<string, Parameter>,
  ) {}

  static root(): Params {
    return new Params('', new Map());
  }

  at(module: string | number): Params {
    return new Params(this.join(String(module)), this.declared);
  }

  parameter(leaf: string, shape: number[], layout: Layout = 'plain'): Parameter {
    return this.declare(new Parameter(this.join(leaf), shape, layout));
  }

  optional(leaf: string, shape: number[]): Parameter {
    return this.declare(new Parameter(this.join(leaf), shape, 'plain', true));
  }

  /** Every parameter declared so far, in the model's order. */
  get all(): ReadonlyMap<string, Parameter> {
    return this.declared;
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
