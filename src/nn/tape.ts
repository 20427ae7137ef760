import * as tf from '@tensorflow/tfjs';

/** What tfjs notes of an operation while it is told to: inputs and outputs, what it saved, the way back. */
type Operation = Parameters<ReturnType<typeof tf.engine>['state']['activeTape']['push']>[0];

/**
 * dyᵀ · ∂y/∂x for each x; null where y does not depend on it. This is what `tf.grads` does, but with a fraction of the
 * memory: tfjs holds all that was saved and every gradient on the way until the end, here each is freed once it has
 * been used; and what is saved without need is not kept at all.
 */
export function vectorJacobian(y: () => tf.Tensor, xs: readonly tf.Tensor[], dy: tf.Tensor): (tf.Tensor | null)[] {
  const gradients = gradientsOf(watch => {
    for (const x of xs) watch(x);
    return y();
  }, dy);
  return xs.map(({ id }) => gradients.get(id) ?? null);
}

/**
 * The same for tensors that only come to be while y is computed.
 *
 * @param y is given a function that it calls with each tensor whose gradient is wanted, before it uses the tensor; the
 *   tensors are not results of recorded operations
 * @returns gradients by the id of the tensor; without those that y does not depend on
 */
export function gradientsOf(y: (watch: (x: tf.Tensor) => void) => tf.Tensor, dy: tf.Tensor): Map<number, tf.Tensor> {
  const tape = new Tape();
  try {
    const output = tape.record(() => y(({ id }) => void tape.dependent.add(id)));
    const gradients = new Map<number, tf.Tensor>(); // by the id of the tensor
    if (tape.dependent.has(output.id)) gradients.set(output.id, dy.clone());
    output.dispose();
    for (const operation of tape.operations.toReversed()) {
      stepBack(operation, gradients);
      tf.dispose(operation.saved ?? []);
    }
    return gradients;
  } finally {
    for (const { saved } of tape.operations) tf.dispose(saved ?? []);
  }
}

/** The operations of a forward pass through which some tensors are reached. */
class Tape {
  readonly operations: Operation[] = [];
  /** The ids of the tensors, and of what was computed from them. */
  readonly dependent = new Set<number>();

  /** Runs a function. Its output is a tensor of its own. */
  record(y: () => tf.Tensor): tf.Tensor {
    const { state } = tf.engine();
    state.activeTape = { push: (operation: Operation) => this.note(operation) } as unknown as Operation[];
    state.gradientDepth++;
    try {
      return tf.tidy(() => y().clone());
    } finally {
      state.gradientDepth--;
      state.activeTape = null!;
    }
  }

  private note(operation: Operation): void {
    const { kernelName, inputs, outputs, saved } = operation;
    const asked = Object.entries(inputs).filter(([, { id }]) => this.dependent.has(id));
    if (asked.length === 0) {
      tf.dispose(saved ?? []);
      return;
    }
    for (const { id } of outputs) this.dependent.add(id);
    const noted = { ...operation, inputs: Object.fromEntries(asked) };
    if (kernelName in byShapes) {
      const gradient = byShapes[kernelName](inputs);
      noted.gradient = ([dy]) => gradient(dy);
      tf.dispose(saved ?? []);
    }
    this.operations.push(noted);
  }
}

/** Operations whose way back needs the shapes of their inputs alone; tfjs saves the inputs. */
const byShapes: Record<string, (inputs: tf.NamedTensorMap) => (dy: tf.Tensor) => Record<string, () => tf.Tensor>> = {
  Reshape:
    ({ x: { shape } }) =>
    dy => ({ x: () => tf.reshape(dy, shape) }),
  Add:
    ({ a: { shape: a }, b: { shape: b } }) =>
    dy => ({ a: () => sumTo(a, dy), b: () => sumTo(b, dy) }),
};

/** The gradient of a tensor that was broadcast to the shape of dy. */
function sumTo(shape: number[], dy: tf.Tensor): tf.Tensor {
  if (shape.join() === dy.shape.join()) return dy;
  const missing = dy.rank - shape.length;
  const isBroadcast = (axis: number): boolean => axis < missing || shape[axis - missing] !== dy.shape[axis];
  const axes = dy.shape.map((_, axis) => axis).filter(isBroadcast);
  return tf.reshape(tf.sum(dy, axes), shape);
}

/** Replaces the gradients of an operation's outputs by those of its inputs. */
function stepBack({ kernelName, inputs, outputs, gradient }: Operation, gradients: Map<number, tf.Tensor>): void {
  const dys = outputs.map(({ id }) => gradients.get(id));
  if (!dys.some(dy => dy)) return; // y was not computed from it
  if (!gradient) throw new Error(`${kernelName} has no gradient.`);
  const names = Object.keys(inputs);
  const made = tf.tidy(() => {
    const parts = gradient(dys as tf.Tensor[]); // tfjs puts zeros where there is none
    return names.map(name => parts[name]());
  });
  names.forEach((name, i) => {
    accumulate(gradients, inputs[name].id, dys.includes(made[i]) ? made[i].clone() : made[i]);
  });
  for (const { id } of outputs) gradients.delete(id);
  tf.dispose(dys.filter(dy => dy) as tf.Tensor[]);
}

/** Adds a gradient to those that came before it, and takes it over. */
export function accumulate<K>(gradients: Map<K, tf.Tensor>, key: K, gradient: tf.Tensor): void {
  const before = gradients.get(key);
  gradients.set(key, before ? tf.add(before, gradient) : gradient);
  if (before) tf.dispose([before, gradient]);
}

/** The gradient of each input, computed when it is asked for. */
type Gradients<Name extends string> = Record<Name, () => tf.Tensor>;

/** The part of tfjs's engine that `tf.customGrad` is built on. */
interface Engine {
  runKernelFunc<T extends tf.Tensor>(call: {
    inputs: Record<string, tf.Tensor>;
    forwardFunc: (backend: unknown, save: tf.GradSaveFunc) => T;
    backwardsFunc: (dy: T, saved: tf.Tensor[]) => Record<string, () => tf.Tensor>;
  }): T;
}

/**
 * A function with a gradient of its own, which takes fewer steps and keeps less than that of its parts. As
 * `tf.customGrad`, which however computes the gradients of all inputs, those of frozen weights too.
 *
 * @param forward computes y of `inputs`, and saves what the way back needs
 * @param backward dy and what was saved -> the gradients of `inputs`
 */
export function withGradient<T extends tf.Tensor, Name extends string>(
  inputs: Partial<Record<Name, tf.Tensor>>,
  forward: (save: tf.GradSaveFunc) => T,
  backward: (dy: T, saved: tf.Tensor[]) => Gradients<Name>,
): T {
  const engine = tf.engine() as unknown as Engine;
  return engine.runKernelFunc({
    inputs: inputs as Record<string, tf.Tensor>,
    forwardFunc: (_backend, save) => forward(save),
    backwardsFunc: backward,
  });
}
