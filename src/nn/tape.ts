import * as tf from '@tensorflow/tfjs';

/** An operation as tfjs records it on its tape: inputs, outputs, saved tensors and gradient function. */
type Operation = Parameters<ReturnType<typeof tf.engine>['state']['activeTape']['push']>[0];

/**
 * Returns dyᵀ · ∂y/∂x for each x, or null if y does not depend on it. Takes a fraction of the memory of `tf.grads`,
 * which keeps all saved tensors and all gradients until the end. Here each is disposed once it has been used, and
 * inputs saved only for their shapes are not kept.
 */
export function vectorJacobian(y: () => tf.Tensor, xs: readonly tf.Tensor[], dy: tf.Tensor): (tf.Tensor | null)[] {
  const gradients = gradientsOf(watch => {
    for (const x of xs) watch(x);
    return y();
  }, dy);
  return xs.map(({ id }) => gradients.get(id) ?? null);
}

/**
 * Like `vectorJacobian`, for tensors that are created while y is computed.
 *
 * @param y computes y. It calls `watch` with each tensor whose gradient is to be returned, before it uses the tensor. A
 *   watched tensor must not be the result of a recorded operation
 * @returns gradients by tensor id, without tensors that y does not depend on
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

/** Records the operations of a forward pass that depend on watched tensors. */
class Tape {
  readonly operations: Operation[] = [];
  /** The ids of the watched tensors and of those computed from them. */
  readonly dependent = new Set<number>();

  /** Runs a function and records its operations. Returns a copy of its output. */
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
    const dependents = Object.entries(inputs).filter(([, { id }]) => this.dependent.has(id));
    if (dependents.length === 0) {
      tf.dispose(saved ?? []);
      return;
    }
    for (const { id } of outputs) this.dependent.add(id);
    const noted = { ...operation, inputs: Object.fromEntries(dependents) };
    if (kernelName in BY_SHAPES) {
      const gradient = BY_SHAPES[kernelName](inputs);
      noted.gradient = ([dy]) => gradient(dy);
      tf.dispose(saved ?? []);
    }
    this.operations.push(noted);
  }
}

/** Gradients of operations that need only the shapes of their inputs. tfjs would save the inputs themselves. */
const BY_SHAPES: Record<string, (inputs: tf.NamedTensorMap) => (dy: tf.Tensor) => Record<string, () => tf.Tensor>> = {
  Reshape:
    ({ x: { shape } }) =>
    dy => ({ x: () => tf.reshape(dy, shape) }),
  Add:
    ({ a: { shape: a }, b: { shape: b } }) =>
    dy => ({ a: () => sumTo(a, dy), b: () => sumTo(b, dy) }),
};

/** Returns the gradient of a tensor of this shape that was broadcast to the shape of dy. */
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
  if (!dys.some(dy => dy)) return; // y does not depend on its outputs
  if (!gradient) throw new Error(`${kernelName} has no gradient.`);
  const names = Object.keys(inputs);
  const computed = tf.tidy(() => {
    const parts = gradient(dys as tf.Tensor[]); // tfjs fills in zeros for missing ones
    return names.map(name => parts[name]());
  });
  names.forEach((name, i) => {
    accumulate(gradients, inputs[name].id, dys.includes(computed[i]) ? computed[i].clone() : computed[i]);
  });
  for (const { id } of outputs) gradients.delete(id);
  tf.dispose(dys.filter(dy => dy) as tf.Tensor[]);
}

/** Adds a gradient to the one of the same key, if any, and takes ownership of it. */
export function accumulate<K>(gradients: Map<K, tf.Tensor>, key: K, gradient: tf.Tensor): void {
  const before = gradients.get(key);
  gradients.set(key, before ? tf.add(before, gradient) : gradient);
  if (before) tf.dispose([before, gradient]);
}

/** For each input a function that computes its gradient. */
type Gradients<Name extends string> = Record<Name, () => tf.Tensor>;

/** The part of tfjs's engine that `tf.customGrad` uses. */
interface Engine {
  runKernelFunc<T extends tf.Tensor>(call: {
    inputs: Record<string, tf.Tensor>;
    forwardFunc: (backend: unknown, save: tf.GradSaveFunc) => T;
    backwardsFunc: (dy: T, saved: tf.Tensor[]) => Record<string, () => tf.Tensor>;
  }): T;
}

/**
 * Runs a function with a custom gradient, which needs fewer operations and less memory than the gradients of its parts.
 * Unlike `tf.customGrad`, it does not compute gradients that are not used, such as those of frozen weights.
 *
 * @param forward computes y from `inputs` and saves the tensors that the backward pass needs
 * @param backward dy and the saved tensors -> the gradients of `inputs`
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

/**
 * Runs a function and keeps its inputs, not its intermediates: the backward pass computes these again.
 *
 * @param forward computes y from the inputs and the constant. It must return the same when it is called again
 * @param inputs tensors that have gradients
 * @param constant a tensor without a gradient, such as a mask
 */
export function recomputed<T extends tf.Tensor, X extends tf.Tensor[], C extends tf.Tensor | null>(
  forward: (inputs: X, constant: C) => T,
  inputs: X,
  constant: C,
): T {
  return withGradient<T, string>(
    Object.fromEntries(inputs.map((x, i) => [`x${i}`, x])),
    save => {
      save(constant ? [...inputs, constant] : inputs);
      return forward(inputs, constant);
    },
    (dy, saved) => {
      const xs = saved.slice(0, inputs.length) as X;
      const again = (): T => forward(xs, (saved[inputs.length] ?? null) as C);
      let gradients: (tf.Tensor | null)[] | undefined;
      const gradientOf = (i: number): tf.Tensor => {
        gradients ??= vectorJacobian(again, xs, dy);
        return gradients[i] ?? tf.zerosLike(xs[i]);
      };
      return Object.fromEntries(xs.map((_, i) => [`x${i}`, () => gradientOf(i)]));
    },
  );
}
