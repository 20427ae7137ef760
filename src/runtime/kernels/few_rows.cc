// Matrix products for decoding: each step reads every weight of the decoder once, for the few rows of the beams.
// TensorFlow's own kernels leave most of the memory bandwidth unused there.
//
//   Florence2FewRowsMatMul  x [M, K], weight [K, N] (transposed: [N, K]), bias [N] or [0]  ->  x · weight + bias [M, N]
//                           The weight may be fp16; products and sums are fp32. `gelu` applies GELU to the result.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels.h"
#include "team.h"
#include "tensorflow.h"
#include "vectors.h"

namespace florence2 {
namespace {

// ---- x · weight ----

// Each thread reads its part of the weight sequentially; any other order is considerably slower.

constexpr int kRows = 8;  // rows of x per block

// y [M, N] = x [M, from:to] · weight [from:to, N], a part of the sum over K.
template <int M, class T>
void product(const float* x, const T* weight, float* y, int64_t K, int64_t N, int64_t from, int64_t to) {
  constexpr int kStep = 4;
  std::fill_n(y, M * N, 0.0f);
  int64_t k = from;
  for (; k + kStep <= to; k += kStep) {
    int64_t n = 0;
    for (; n + W <= N; n += W) {
      Vector w[kStep];
      for (int i = 0; i < kStep; i++) w[i] = load(weight + (k + i) * N + n);
      for (int m = 0; m < M; m++) {
        Vector total = load(y + m * N + n);
        for (int i = 0; i < kStep; i++) total += x[m * K + k + i] * w[i];
        store(y + m * N + n, total);
      }
    }
    for (; n < N; n++)
      for (int i = 0; i < kStep; i++)
        for (int m = 0; m < M; m++) y[m * N + n] += x[m * K + k + i] * widen(weight[(k + i) * N + n]);
  }
  for (; k < to; k++)
    for (int64_t n = 0; n < N; n++)
      for (int m = 0; m < M; m++) y[m * N + n] += x[m * K + k] * widen(weight[k * N + n]);
}

// Columns [from, to) of y [M, N] = x [M, K] · weightᵀ, weight [N, K].
template <int M, class T>
void transposedProduct(const float* x, const T* weight, float* y, int64_t K, int64_t N, int64_t from, int64_t to) {
  constexpr int kStep = M <= 4 ? 4 : 2;  // independent sums, to hide latency
  for (int64_t n = from; n < to; n++) {
    const T* const w = weight + n * K;
    Vector total[M][kStep] = {};
    int64_t k = 0;
    for (; k + kStep * W <= K; k += kStep * W)
      for (int i = 0; i < kStep; i++) {
        const Vector part = load(w + k + i * W);
        // With several rows the computation between loads is too long for the hardware prefetcher to look far ahead.
        if (M > 2) __builtin_prefetch(reinterpret_cast<const char*>(w + k + i * W) + 4096);
        for (int m = 0; m < M; m++) total[m][i] += load(x + m * K + k + i * W) * part;
      }
    for (int m = 0; m < M; m++) {
      Vector all = total[m][0];
      for (int i = 1; i < kStep; i++) all += total[m][i];
      float rest = sum(all);
      for (int64_t j = k; j < K; j++) rest += x[m * K + j] * widen(w[j]);
      y[m * N + n] = rest;
    }
  }
}

// Calls body(m, count) for each block of rows of x. `count` is a compile-time constant.
template <class Body>
void eachRows(int64_t M, const Body& body) {
  for (int64_t m = 0; m < M; m += kRows) {
    switch (std::min<int64_t>(kRows, M - m)) {
      case 1: body(m, std::integral_constant<int, 1>()); break;
      case 2: body(m, std::integral_constant<int, 2>()); break;
      case 3: body(m, std::integral_constant<int, 3>()); break;
      case 4: body(m, std::integral_constant<int, 4>()); break;
      case 5: body(m, std::integral_constant<int, 5>()); break;
      case 6: body(m, std::integral_constant<int, 6>()); break;
      case 7: body(m, std::integral_constant<int, 7>()); break;
      default: body(m, std::integral_constant<int, kRows>()); break;
    }
  }
}

// y [M, N] = x [M, K] · weight [K, N]. Each thread sums over a part of K; the partial sums are added at the end.
template <class T>
void multiply(const float* x, const T* weight, float* y, int64_t M, int64_t K, int64_t N) {
  std::vector<std::unique_ptr<float[]>> sums(team().size());
  team().run([&](int part, int parts) {
    int64_t from, to;
    share(K, part, parts, &from, &to);
    if (part > 0) sums[part].reset(new float[M * N]);
    float* const out = part == 0 ? y : sums[part].get();
    eachRows(M, [&](int64_t m, auto count) {
      product<decltype(count)::value>(x + m * K, weight, out + m * N, K, N, from, to);
    });
  });
  for (const auto& part : sums)
    if (part)
      for (int64_t i = 0; i < M * N; i++) y[i] += part[i];
}

// y [M, N] = x [M, K] · weightᵀ, weight [N, K]. Each thread computes a part of the columns N.
template <class T>
void multiplyTransposed(const float* x, const T* weight, float* y, int64_t M, int64_t K, int64_t N) {
  team().run([&](int part, int parts) {
    int64_t from, to;
    share(N, part, parts, &from, &to);
    eachRows(M, [&](int64_t m, auto count) {
      transposedProduct<decltype(count)::value>(x + m * K, weight, y + m * N, K, N, from, to);
    });
  });
}

template <class T>
void multiply(const Weight& weight, const float* x, float* y, int64_t M, int64_t K, int64_t N) {
  const T* const w = static_cast<const T*>(weight.values);
  weight.transposed ? multiplyTransposed(x, w, y, M, K, N) : multiply(x, w, y, M, K, N);
}

}  // namespace

void fewRowsMatMul(const float* x, const Weight& weight, const float* bias, bool withGelu, float* y, int64_t M, int64_t K,
                   int64_t N) {
  weight.half ? multiply<Half>(weight, x, y, M, K, N) : multiply<float>(weight, x, y, M, K, N);
  if (bias)
    for (int64_t m = 0; m < M; m++)
      for (int64_t n = 0; n < N; n++) y[m * N + n] += bias[n];
  if (withGelu) gelu(y, y, M * N);
}

namespace {

struct MatMul {
  bool transposed = false, gelu = false;
};

void* createMatMul(TF_OpKernelConstruction* construction) {
  const Status status(TF_NewStatus());
  unsigned char transposed = 0, gelu = 0;
  TF_OpKernelConstruction_GetAttrBool(construction, "transposed", &transposed, status.get());
  TF_OpKernelConstruction_GetAttrBool(construction, "gelu", &gelu, status.get());
  return new MatMul{transposed != 0, gelu != 0};
}

void computeMatMul(void* kernel, TF_OpKernelContext* context) {
  const auto& [transposed, gelu] = *static_cast<MatMul*>(kernel);
  const Status status(TF_NewStatus());
  const Tensor x = input(context, 0, status.get()), weight = input(context, 1, status.get());
  const Tensor bias = input(context, 2, status.get());
  if (TF_NumDims(x.get()) != 2 || TF_NumDims(weight.get()) != 2 || TF_NumDims(bias.get()) != 1)
    return fail(context, status.get(), "x and weight must have two axes, bias one.");
  const int64_t M = side(x, 0), K = side(x, 1), N = side(weight, transposed ? 0 : 1);
  const bool biased = side(bias, 0) > 0;
  if (side(weight, transposed ? 1 : 0) != K || (biased && side(bias, 0) != N))
    return fail(context, status.get(), "x, weight and bias do not fit each other.");
  const Tensor y = output(context, {M, N}, status.get());
  if (TF_GetCode(status.get()) != TF_OK) return TF_OpKernelContext_Failure(context, status.get());
  float* const out = static_cast<float*>(TF_TensorData(y.get()));
  const Weight w{TF_TensorData(weight.get()), TF_TensorType(weight.get()) == TF_HALF, transposed};
  fewRowsMatMul(floats(x), w, biased ? floats(bias) : nullptr, gelu, out, M, K, N);
}

}  // namespace

void registerFewRows(TF_Status* status) {
  define("Florence2FewRowsMatMul", {"x: float", "weight: T", "bias: float"}, {"y: float"},
         {"T: {float, half}", "transposed: bool = false", "gelu: bool = false"}, status);
  registerKernel<&computeMatMul>("Florence2FewRowsMatMul", &createMatMul, &destroy<MatMul>, status);
}

}  // namespace florence2
