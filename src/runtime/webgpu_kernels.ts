import * as tf from '@tensorflow/tfjs';
import { type Kernel, registeredName } from '../nn/kernels.ts';
import { limitFreeBuffers, uploadThroughQueue, type WithBuffers } from './webgpu_buffers.ts';

/** A shader in the format of tfjs's webgpu backend. */
interface Program {
  variableNames: string[];
  outputShape: number[];
  dispatchLayout: { x: number[] };
  dispatch: [x: number, y: number, z: number];
  workgroupSize: [x: number, y: number, z: number];
  /** Declarations of its uniforms. */
  uniforms: string;
  shaderKey: string;
  getUserCode(): string;
}

/** The part of tfjs's webgpu backend that is used here. */
interface WebgpuBackend {
  runWebGPUProgram(
    program: Program,
    inputs: tf.TensorInfo[],
    dtype: tf.DataType,
    uniforms: { type: string; data: number[] }[],
  ): tf.TensorInfo;
}

/** Threads per workgroup. They process a row together, or one element each. */
const THREADS = 64;

/** WGSL functions of the standard normal distribution: density, and distribution function with an error of 1e-8. */
const NORMAL = `
  fn density(x: f32) -> f32 { return exp(-0.5 * x * x) * 0.398942280; }
  fn cumulative(x: f32) -> f32 {
    // erfc(z) · exp(z²) as a polynomial of t = 1 / (1 + 0.39 z), z = |x| / √2
    let t = 1.0 / (1.0 + abs(x) * (0.39 * 0.70710678));
    let series = ((((-0.227537288 * t + 0.886665041) * t - 0.635401375) * t + 0.649560289) * t + 0.0913880557) * t + 0.235325277;
    let tail = 0.5 * t * series * exp(-0.5 * x * x);
    return select(1.0 - tail, tail, x < 0.0);
  }
`;

/** WGSL code that computes the mean of a row and `scale` = 1 / √(variance + ε). */
const SPREAD = `
      ${sumOverRow('mean', 'x[i]')}
      mean = mean / f32(C);
      ${sumOverRow('variance', '(x[i] - mean) * (x[i] - mean)')}
      let scale = inverseSqrt(variance / f32(C) + uniforms.epsilon);`;

/** WGSL code of each kernel: an expression for element i, or statements for a row of C elements with index c. */
const SHADERS: Partial<Record<Kernel, Pick<Program, 'variableNames'> & { element?: string; row?: string }>> = {
  Gelu: { variableNames: ['x'], element: 'x[i] * cumulative(x[i])' },
  GeluGrad: { variableNames: ['x', 'dy'], element: 'dy[i] * (cumulative(x[i]) + x[i] * density(x[i]))' },
  LayerNorm: {
    variableNames: ['x', 'weight', 'bias'],
    row: `
      ${SPREAD}
      ${overRow('(x[i] - mean) * scale * weight[c] + bias[c]')}`,
  },
  LayerNormGrad: {
    variableNames: ['x', 'weight', 'dy'],
    row: `
      ${SPREAD}
      ${sumOverRow('total', 'dy[i] * weight[c]')}
      ${sumOverRow('along', 'dy[i] * weight[c] * (x[i] - mean) * scale')}
      ${overRow('(dy[i] * weight[c] - total / f32(C) - (x[i] - mean) * scale * along / f32(C)) * scale')}`,
  },
  SoftmaxGrad: {
    variableNames: ['y', 'dy'],
    row: `
      ${sumOverRow('total', 'y[i] * dy[i]')}
      ${overRow('y[i] * (dy[i] - total)')}`,
  },
};

/** Returns WGSL code that sums `value` over a row, with all threads of the workgroup, into the variable `name`. */
function sumOverRow(name: string, value: string): string {
  return `
      var ${name} = 0.0;
      for (var c = thread; c < C; c += ${THREADS}) { let i = start + c; ${name} += ${value}; }
      workgroupBarrier();
      sums[thread] = ${name};
      for (var width = ${THREADS / 2}; width > 0; width = width / 2) {
        workgroupBarrier();
        if (thread < width) { sums[thread] += sums[thread + width]; }
      }
      workgroupBarrier();
      ${name} = sums[0];`;
}

/** Returns WGSL code that sets all elements of a row to `value`. */
function overRow(value: string): string {
  return `
      if (row < rows) {
        for (var c = thread; c < C; c += ${THREADS}) { let i = start + c; setOutputAtIndex(i, ${value}); }
      }`;
}

/** Registers the kernels of `SHADERS` for the webgpu backend. */
function registerKernels(): void {
  for (const [kernel, { variableNames, element, row }] of Object.entries(SHADERS)) {
    const name = registeredName(kernel as Kernel);
    if (tf.getKernel(name, 'webgpu')) continue;
    tf.registerKernel({
      kernelName: name,
      backendName: 'webgpu',
      kernelFunc: ({ inputs, attrs, backend }) => {
        const tensors = variableNames.map(name => inputs[name] as tf.TensorInfo);
        const { shape } = tensors[0];
        const C = shape.at(-1) ?? 1;
        const matrices = tensors.map(info => ({ ...info, shape: [tf.util.sizeFromShape(info.shape) / C, C] }));
        const [rows] = matrices[0].shape;
        const numbers = Object.entries((attrs ?? {}) as Record<string, number>);
        const program: Program = {
          shaderKey: name,
          variableNames,
          outputShape: [rows, C],
          dispatchLayout: { x: [0, 1] },
          dispatch: [element ? Math.ceil((rows * C) / THREADS) : rows, 1, 1],
          workgroupSize: [THREADS, 1, 1],
          uniforms: numbers.map(([name]) => `${name} : f32, `).join(''),
          getUserCode: () => (element ? ofElements(element) : ofRows(row!)),
        };
        const uniforms = numbers.map(([, value]) => ({ type: 'float32', data: [value] }));
        const result = (backend as WebgpuBackend).runWebGPUProgram(program, matrices, 'float32', uniforms);
        return { ...result, shape };
      },
    });
  }
}

const ofElements = (element: string): string => `
    ${NORMAL}
    fn main(i: i32) {
      if (i < uniforms.outShape[0] * uniforms.outShape[1]) { setOutputAtIndex(i, ${element}); }
    }`;

const ofRows = (row: string): string => `
    var<workgroup> sums : array<f32, ${THREADS}>;
    fn main(index: i32) {
      let rows = uniforms.outShape[0];
      let C = uniforms.outShape[1];
      let row = index / ${THREADS};
      let thread = index % ${THREADS};
      let start = row * C;
      ${row}
    }`;

const tuned = new WeakSet<object>();

/** Registers our kernels and improves how the active webgpu backend handles buffers. Repeated calls have no effect. */
export function tuneWebgpu(): void {
  const backend = tf.backend() as unknown as WithBuffers;
  if (tuned.has(backend)) return;
  tuned.add(backend);
  registerKernels();
  limitFreeBuffers(backend.bufferManager);
  uploadThroughQueue(backend);
}
