import { Florence2Error } from '../errors.ts';
import type { Parameter } from '../nn/params.ts';
import { canonicalName, headName, sharedName } from './names.ts';
import { elementCount, type TensorFile } from './tensor_file.ts';

/** Called after each tensor: bytes of fp32 weights so far, and in all. */
export type LoadProgress = (loaded: number, total: number) => void;

/** A parameter and the tensor of the file that fills it. */
interface Source {
  readonly parameter: Parameter;
  readonly tensor: string;
  readonly transposed: boolean;
}

/**
 * Fills the parameters from a checkpoint, tensor by tensor, so that no second copy of the weights ever stands in
 * memory. Every tensor of the file is used, or is a copy of the token embeddings; anything else is an error.
 *
 * @throws Florence2Error naming the tensors that are missing, unknown or of another shape
 */
export async function loadParameters(
  parameters: ReadonlyMap<string, Parameter>,
  file: TensorFile,
  onProgress: LoadProgress = () => {},
): Promise<void> {
  const sources = await match(parameters, file);
  const total = sources.reduce((bytes, { parameter }) => bytes + byteSize(parameter), 0);
  // Parameters that are reordered on their way can share one buffer; the others may keep the array they are given.
  const reordered = sources.filter(({ parameter }) => parameter.layout !== 'plain');
  const buffer = new Float32Array(Math.max(0, ...reordered.map(({ parameter }) => elementCount(parameter.shape))));
  let loaded = 0;
  for (const { parameter, tensor, transposed } of sources) {
    const data = await file.readFloat32(tensor, parameter.layout === 'plain' ? undefined : buffer);
    parameter.load(transposed ? transpose(data, parameter.shape) : data);
    loaded += byteSize(parameter);
    onProgress(loaded, total);
  }
}

/** Which tensor fills which parameter; all shapes checked before anything is read. */
async function match(parameters: ReadonlyMap<string, Parameter>, file: TensorFile): Promise<Source[]> {
  const sources = new Map<string, Source>();
  const unknown: string[] = [];
  const copies: string[] = [];
  for (const [tensor, info] of file.tensors) {
    const canonical = canonicalName(tensor);
    const parameter = canonical?.name === undefined ? undefined : parameters.get(canonical.name);
    if (canonical?.dropped !== undefined) copies.push(tensor);
    else if (!canonical || !parameter) unknown.push(tensor);
    else {
      const expected = canonical.transposed ? parameter.shape.toReversed() : parameter.shape;
      if (String(info.shape) !== String(expected)) {
        throw new Florence2Error(
          `${file.path}: ${tensor} has shape [${info.shape.join(', ')}], but config.json asks for [${expected.join(', ')}].`,
        );
      }
      if (sources.has(parameter.name)) {
        throw new Florence2Error(
          `${file.path}: ${tensor} and ${sources.get(parameter.name)!.tensor} are the same tensor.`,
        );
      }
      sources.set(parameter.name, { parameter, tensor, transposed: canonical.transposed });
    }
  }
  const missing = [...parameters.values()].filter(({ name, optional }) => !optional && !sources.has(name));
  if (missing.length > 0) refuse(file, 'lacks', missing.map(({ name }) => name)); // biome-ignore format: one line
  if (unknown.length > 0) refuse(file, 'has tensors that this model does not know:', unknown);
  await checkCopies(file, sources, copies);
  // The model's order, which is also about the order in which files are written.
  return [...parameters.keys()].flatMap(name => sources.get(name) ?? []);
}

/**
 * Files may repeat the token embeddings. The stacks' copies must be equal to them; so may the head's, which is then
 * tied, and is a head of its own otherwise.
 */
async function checkCopies(file: TensorFile, sources: Map<string, Source>, copies: string[]): Promise<void> {
  const shared = sources.get(sharedName)!.tensor;
  for (const copy of copies) {
    if (!(await equal(file, copy, shared))) {
      throw new Florence2Error(`${file.path}: ${copy} differs from ${shared}; in Florence-2 they are one table.`);
    }
  }
  const head = sources.get(headName);
  if (head && (await equal(file, head.tensor, shared))) sources.delete(headName);
}

async function equal(file: TensorFile, a: string, b: string): Promise<boolean> {
  if (String(file.tensors.get(a)!.shape) !== String(file.tensors.get(b)!.shape)) return false;
  const [x, y] = [await file.readFloat32(a), await file.readFloat32(b)];
  return x.every((value, i) => value === y[i]);
}

function refuse(file: TensorFile, complaint: string, names: string[]): never {
  const more = names.length > 3 ? ` and ${names.length - 3} more` : '';
  throw new Florence2Error(`${file.path} ${complaint} ${names.slice(0, 3).join(', ')}${more}.`);
}

/** The transpose [out, in] of a matrix that lies as [in, out]. */
function transpose(data: Float32Array, [out, inner]: number[]): Float32Array {
  const result = new Float32Array(data.length);
  for (let o = 0; o < out; o++) for (let i = 0; i < inner; i++) result[o * inner + i] = data[i * out + o];
  return result;
}

const byteSize = (parameter: Parameter): number => 4 * elementCount(parameter.shape);
