import { Florence2Error } from '../errors.ts';
import type { Parameter } from '../nn/params.ts';
import type { CanonicalCheckpoint } from './canonical.ts';
import { elementCount } from './tensor_file.ts';

/** Called after each tensor: bytes of fp32 weights so far, and in all. */
export type LoadProgress = (loaded: number, total: number) => void;

/**
 * Fills the parameters from a checkpoint, tensor by tensor, so that no second copy of the weights ever stands in memory.
 *
 * @throws Florence2Error naming the tensors that are missing, that the model has no place for, or of another shape
 */
export async function loadParameters(
  parameters: ReadonlyMap<string, Parameter>,
  checkpoint: CanonicalCheckpoint,
  onProgress: LoadProgress = () => {},
): Promise<void> {
  checkTensors(parameters, checkpoint);
  const present = [...parameters.values()].filter(({ name }) => checkpoint.tensors.has(name));
  const total = present.reduce((bytes, parameter) => bytes + byteSize(parameter), 0);
  // The next parameter is read while this one is put in place: each of the two has a buffer.
  const buffers = [new ReadBuffer(present), new ReadBuffer(present)];
  const read = (i: number) => (i < present.length ? readValues(present[i], checkpoint, buffers[i % 2]) : undefined);
  let loaded = 0;
  let next = read(0);
  for (const [i, parameter] of present.entries()) {
    const values = await next!;
    next = read(i + 1);
    next?.catch(() => {}); // it is awaited in the next round, unless this one throws
    if (values instanceof Uint16Array) parameter.loadHalves(values);
    else parameter.load(values);
    loaded += byteSize(parameter);
    onProgress(loaded, total);
  }
}

/** Where values are on their way. */
class ReadBuffer {
  /** For parameters that are reordered: they leave the array in which they come, the others keep it. */
  readonly floats: Float32Array;
  readonly halves: Uint16Array;

  constructor(parameters: readonly Parameter[]) {
    const largest = (some: Parameter[]) => Math.max(0, ...some.map(({ shape }) => elementCount(shape)));
    const halved = parameters.filter(({ takesHalves }) => takesHalves);
    this.halves = new Uint16Array(largest(halved));
    this.floats = new Float32Array(largest(parameters.filter(({ layout }) => layout !== 'plain')));
  }
}

/** A parameter's values, or the bits of halves where it takes them and the checkpoint has them. */
async function readValues(
  parameter: Parameter,
  checkpoint: CanonicalCheckpoint,
  { floats, halves }: ReadBuffer,
): Promise<Float32Array | Uint16Array> {
  const bits = parameter.takesHalves ? await checkpoint.readHalves(parameter.name, halves) : null;
  return bits ?? checkpoint.readFloat32(parameter.name, parameter.layout === 'plain' ? undefined : floats);
}

function checkTensors(parameters: ReadonlyMap<string, Parameter>, { tensors, file }: CanonicalCheckpoint): void {
  const missing = [...parameters.values()].filter(({ name, optional }) => !optional && !tensors.has(name));
  if (missing.length > 0) throw new Florence2Error(`${file.path} lacks ${list(missing.map(({ name }) => name))}.`);
  const surplus = [...tensors.values()].filter(({ name }) => !parameters.has(name));
  if (surplus.length > 0) {
    const names = list(surplus.map(({ fileName }) => fileName));
    throw new Florence2Error(`${file.path} has ${names}, for which the model of config.json has no place.`);
  }
  for (const { name, fileName, shape } of tensors.values()) {
    const expected = parameters.get(name)!.shape;
    if (shape.join() !== expected.join()) {
      throw new Florence2Error(
        `${file.path}: ${fileName} has shape [${shape.join(', ')}], but config.json makes it [${expected.join(', ')}].`,
      );
    }
  }
}

function list(names: string[]): string {
  return names.slice(0, 3).join(', ') + (names.length > 3 ? ` and ${names.length - 3} more` : '');
}

const byteSize = (parameter: Parameter): number => 4 * elementCount(parameter.shape);
