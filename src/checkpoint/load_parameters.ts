import { Florence2Error } from '../errors.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { type FilePlace, hasKernel } from '../nn/kernels.ts';
import type { Parameter } from '../nn/params.ts';
import type { CanonicalCheckpoint } from '../weights/canonical.ts';
import { elementCount } from '../weights/tensor_file.ts';

/** Called after each tensor with the bytes of fp32 weights loaded so far and in total. */
export type LoadProgress = (loaded: number, total: number) => void;

/**
 * Loads a model's parameters from a checkpoint, tensor by tensor, so that the weights are never in memory twice.
 *
 * @throws Florence2Error naming tensors that are missing, that the model does not have, or that have another shape
 */
export async function loadParameters(
  model: Pick<Florence2Model, 'parameters' | 'compute'>,
  checkpoint: CanonicalCheckpoint,
  onProgress: LoadProgress = () => {},
): Promise<void> {
  const { parameters } = model;
  checkTensors(parameters, checkpoint);
  const present = [...parameters.values()].filter(({ name }) => checkpoint.tensors.has(name));
  const total = present.reduce((bytes, parameter) => bytes + byteSize(parameter), 0);
  const readsFiles = model.compute(() => hasKernel('ReadWeight'));
  const places = present.map(({ name }) => (readsFiles ? checkpoint.placeOf(name) : null));
  // Reordered parameters are copied, so they can share one buffer. The others keep the array they are read into.
  const reordered = present.filter(({ layout }, i) => layout !== 'plain' && !places[i]);
  const floats = new Float32Array(Math.max(0, ...reordered.map(({ shape }) => elementCount(shape))));
  let loaded = 0;
  for (const [i, parameter] of present.entries()) {
    const place = places[i];
    const into = parameter.layout === 'plain' ? undefined : floats;
    const values = place ? null : await checkpoint.readFloat32(parameter.name, into);
    model.compute(() => (place ? loadFrom(parameter, place, checkpoint) : parameter.load(values!)));
    loaded += byteSize(parameter);
    onProgress(loaded, total);
  }
}

/** Lets the backend read a parameter from its file. @throws Florence2Error if the file has become shorter, or is gone */
function loadFrom(parameter: Parameter, place: FilePlace, { file }: CanonicalCheckpoint): void {
  try {
    parameter.loadFrom(place);
  } catch (error) {
    throw new Florence2Error(
      `${file.path}: tensor ${parameter.name} cannot be read. Has the file changed since it was opened?`,
      { cause: error },
    );
  }
}

function checkTensors(parameters: ReadonlyMap<string, Parameter>, { tensors, file }: CanonicalCheckpoint): void {
  const missing = [...parameters.values()].filter(({ name, optional }) => !optional && !tensors.has(name));
  if (missing.length > 0) throw new Florence2Error(`${file.path} lacks ${list(missing.map(({ name }) => name))}.`);
  const surplus = [...tensors.values()].filter(({ name }) => !parameters.has(name));
  if (surplus.length > 0) {
    const names = list(surplus.map(({ fileName }) => fileName));
    throw new Florence2Error(`${file.path} has ${names}, which the model of config.json does not have.`);
  }
  for (const { name, fileName, shape } of tensors.values()) {
    const expected = parameters.get(name)!.shape;
    if (shape.join() !== expected.join()) {
      throw new Florence2Error(
        `${file.path}: ${fileName} has shape [${shape.join(', ')}], but for config.json it must be [${expected.join(', ')}].`,
      );
    }
  }
}

function list(names: string[]): string {
  return names.slice(0, 3).join(', ') + (names.length > 3 ? ` and ${names.length - 3} more` : '');
}

const byteSize = (parameter: Parameter): number => 4 * elementCount(parameter.shape);
