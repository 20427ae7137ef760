import * as tf from '@tensorflow/tfjs';

/** What tfjs has noted of the operations of a forward pass: their inputs and outputs, what they saved, the way back. */
type Tape = ReturnType<typeof tf.engine>['state']['activeTape'];

/**
 * dyᵀ · ∂y/∂x for each x; null where y does not depend on it. This is what `tf.grads` does, except that tfjs holds every
 * activation and every gradient on the way until all is done: here each is freed once it has been used.
 */
export function vectorJacobian(y: () => tf.Tensor, xs: readonly tf.Tensor[], dy: tf.Tensor): (tf.Tensor | null)[] {
  const { tape, output } = record(y);
  const gradients = new Map([[output.id, dy.clone()]]); // by the id of the tensor
  output.dispose();
  const dependent = dependents(tape, xs);
  try {
    for (const operation of tape.toReversed()) {
      stepBack(operation, dependent, gradients);
      tf.dispose(operation.saved ?? []);
    }
  } finally {
    for (const { saved } of tape) tf.dispose(saved ?? []);
  }
  return xs.map(({ id }) => gradients.get(id) ?? null);
}

/** Runs a function while tfjs takes notes. The output is a tensor of its own. */
function record(y: () => tf.Tensor): { tape: Tape; output: tf.Tensor } {
  const { state } = tf.engine();
  const tape: Tape = [];
  state.activeTape = tape;
  state.gradientDepth++;
  try {
    return { tape, output: tf.tidy(() => y().clone()) };
  } catch (error) {
    for (const { saved } of tape) tf.dispose(saved ?? []);
    throw error;
  } finally {
    state.gradientDepth--;
    state.activeTape = null!;
  }
}

/** The ids of `xs` and of all tensors that were computed from them. */
function dependents(tape: Tape, xs: readonly tf.Tensor[]): Set<number> {
  const ids = new Set(xs.map(({ id }) => id));
  for (const { inputs, outputs } of tape) {
    if (Object.values(inputs).some(({ id }) => ids.has(id))) for (const { id } of outputs) ids.add(id);
  }
  return ids;
}

/** Replaces the gradients of an operation's outputs by those of its inputs. */
function stepBack(
  { kernelName, inputs, outputs, gradient }: Tape[number],
  dependent: ReadonlySet<number>,
  gradients: Map<number, tf.Tensor>,
): void {
  const dys = outputs.map(({ id }) => gradients.get(id));
  if (!dys.some(dy => dy)) return; // y was not computed from it
  const asked = Object.keys(inputs).filter(name => dependent.has(inputs[name].id));
  if (!gradient) throw new Error(`${kernelName} has no gradient.`);
  const made = tf.tidy(() => {
    const parts = gradient(dys as tf.Tensor[]); // tfjs puts zeros where there is none
    return asked.map(name => parts[name]());
  });
  asked.forEach((name, i) => {
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
