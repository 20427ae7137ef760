/** Definitions of layers and operations as float64 loops, for comparison. Arrays are row-major. */

/** Returns pseudo-random numbers of mean 0 and standard deviation `scale`, the same for the same seed. */
export function numbers(count: number, seed: number, scale = 1): Float32Array {
  let state = seed * 2654435761 + 1;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * Math.sqrt(3) * scale;
  });
}

/** x [rows, in] · weight [out, in]ᵀ + bias [out] -> [rows, out] */
export function linear(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number>,
  inner: number,
): number[] {
  // biome-ignore format: one line
  const out = weight.length / inner;
  return Array.from({ length: (x.length / inner) * out }, (_, i) => {
    const [row, o] = [Math.floor(i / out), i % out];
    let sum = bias[o] ?? 0;
    for (let k = 0; k < inner; k++) sum += x[row * inner + k] * weight[o * inner + k];
    return sum;
  });
}

/** (x - mean) / sqrt(variance + 1e-5) · weight + bias, over rows of C */
export function layerNorm(x: ArrayLike<number>, weight: ArrayLike<number>, bias: ArrayLike<number>): number[] {
  const C = weight.length;
  const result: number[] = [];
  for (let at = 0; at < x.length; at += C) {
    const row = Array.from({ length: C }, (_, c) => x[at + c]);
    const mean = row.reduce((sum, value) => sum + value, 0) / C;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / C;
    result.push(...row.map((value, c) => ((value - mean) / Math.sqrt(variance + 1e-5)) * weight[c] + bias[c]));
  }
  return result;
}

/** Sizes of a layer with an adapter: rows, inputs, outputs and rank. */
export interface LowRankShape {
  N: number;
  inner: number;
  out: number;
  r: number;
}

/** y + scale · (x a) b: y [N, out], x [N, in], a [in, r], b [r, out] -> [N, out] */
export function lowRank(
  [y, x, a, b]: readonly ArrayLike<number>[],
  { N, inner, out, r }: LowRankShape,
  scale: number,
): number[] {
  const hidden = Array.from({ length: N * r }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += x[Math.floor(i / r) * inner + k] * a[k * r + (i % r)];
    return scale * sum;
  });
  return Array.from({ length: N * out }, (_, i) => {
    let sum = y[i];
    for (let j = 0; j < r; j++) sum += hidden[Math.floor(i / out) * r + j] * b[j * out + (i % out)];
    return sum;
  });
}

interface ConvShape {
  height: number;
  width: number;
  inChannels: number;
  outChannels: number;
  kernel: number;
  stride: number;
  padding: number;
  /** As in PyTorch: 1, or `inChannels` for one filter per channel. */
  groups: number;
}

/** x [H, W, in], weight [out, in / groups, kh, kw] as in PyTorch -> [H', W', out]; zero padding */
export function conv2d(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number>,
  s: ConvShape,
): number[] {
  // biome-ignore format: one line
  const side = (size: number) => Math.floor((size + 2 * s.padding - s.kernel) / s.stride) + 1;
  const perGroup = s.inChannels / s.groups;
  const result: number[] = [];
  for (let row = 0; row < side(s.height); row++) {
    for (let column = 0; column < side(s.width); column++) {
      for (let o = 0; o < s.outChannels; o++) {
        const firstChannel = Math.floor((o * s.groups) / s.outChannels) * perGroup;
        let sum = bias[o];
        for (let i = 0; i < perGroup; i++) {
          for (let ky = 0; ky < s.kernel; ky++) {
            for (let kx = 0; kx < s.kernel; kx++) {
              const [y, z] = [row * s.stride + ky - s.padding, column * s.stride + kx - s.padding];
              if (y < 0 || z < 0 || y >= s.height || z >= s.width) continue;
              const value = x[(y * s.width + z) * s.inChannels + firstChannel + i];
              sum += value * weight[((o * perGroup + i) * s.kernel + ky) * s.kernel + kx];
            }
          }
        }
        result.push(sum);
      }
    }
  }
  return result;
}

/** x · Φ(x), with Φ by Simpson's rule. */
export function gelu(x: number): number {
  const steps = 400;
  const density = (at: number) => Math.exp(-(at ** 2) / 2) / Math.sqrt(2 * Math.PI);
  let integral = 0;
  for (let i = 0; i <= steps; i++) {
    const weight = i === 0 || i === steps ? 1 : i % 2 === 1 ? 4 : 2;
    integral += (weight * density((x * i) / steps) * x) / steps / 3;
  }
  return x * (0.5 + integral);
}

/** exp(x) / Σ exp(x), over rows of C */
export function softmax(x: ArrayLike<number>, C: number): number[] {
  const powers = Array.from(x, value => Math.exp(value));
  return powers.map((power, i) => {
    const row = Math.floor(i / C) * C;
    return power / powers.slice(row, row + C).reduce((sum, value) => sum + value, 0);
  });
}

/** Sizes of an attention: batch, heads, queries, keys, size of a head. */
export interface Heads {
  B: number;
  H: number;
  T: number;
  S: number;
  d: number;
}

/** softmax(q kᵀ / √d + mask) v: q [B, H, T, d], k and v [B, H, S, d], `mask` at (b, t, s) -> [B, H, T, d] */
export function attention(
  q: ArrayLike<number>,
  k: ArrayLike<number>,
  v: ArrayLike<number>,
  { B, H, T, S, d }: Heads,
  mask: (b: number, t: number, s: number) => number = () => 0,
): number[] {
  const z = new Array<number>(B * H * T * d).fill(0);
  for (let head = 0; head < B * H; head++) {
    for (let t = 0; t < T; t++) {
      const query = (head * T + t) * d;
      const weights = Array.from({ length: S }, (_, s) => {
        let score = 0;
        for (let i = 0; i < d; i++) score += q[query + i] * k[(head * S + s) * d + i];
        return Math.exp(score / Math.sqrt(d) + mask(Math.floor(head / H), t, s));
      });
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (let s = 0; s < S; s++) {
        const weight = weights[s] / total;
        for (let i = 0; i < d; i++) z[query + i] += weight * v[(head * S + s) * d + i];
      }
    }
  }
  return z;
}

type Definition = (...inputs: Float64Array[]) => ArrayLike<number>;

/** Returns Σ dy · ∂y/∂x for each element of input `which`, by central differences of the definition in float64. */
export function gradient(
  y: Definition,
  inputs: readonly Float32Array[],
  which: number,
  dy: ArrayLike<number>,
): number[] {
  const step = 1e-5;
  const exact = inputs.map(input => Float64Array.from(input));
  const sum = (): number => Array.from(y(...exact)).reduce((sum, value, i) => sum + value * dy[i], 0);
  return Array.from(exact[which], (value, i) => {
    const [above, below] = [value + step, value - step].map(moved => {
      exact[which][i] = moved;
      return sum();
    });
    exact[which][i] = value;
    return (above - below) / (2 * step);
  });
}
