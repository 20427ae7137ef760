// Matrix products for operands that fit into the processor's cache.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "vectors.h"

namespace florence2 {

// Size of a tile, in rows and in vectors of columns: its sums fill nearly all vector registers.
constexpr int kRows = 6;
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kVectors = 4;
#else
constexpr int kVectors = 2;
#endif
constexpr int kColumns = kVectors * W;

// A matrix with strides: element (i, k) is at[i · row + k · column].
struct Matrix {
  const float* at;
  int64_t row, column;
};

// c [R, V · W] = a [R, K] · b [K, V · W]; adds to c if `add`.
template <int R, int V>
void tile(const Matrix& a, const float* b, int64_t bRow, int64_t K, float* c, int64_t cRow, bool add) {
  Vector total[R][V] = {};
  for (int64_t k = 0; k < K; k++) {
    Vector part[V];
    for (int v = 0; v < V; v++) part[v] = load(b + k * bRow + v * W);
    for (int r = 0; r < R; r++)
      for (int v = 0; v < V; v++) total[r][v] += a.at[r * a.row + k * a.column] * part[v];
  }
  for (int r = 0; r < R; r++)
    for (int v = 0; v < V; v++) {
      float* const to = c + r * cRow + v * W;
      store(to, add ? load(to) + total[r][v] : total[r][v]);
    }
}

// Calls body with min(n, Most) as a compile-time constant.
template <int Most, class Body>
void known(int64_t n, const Body& body) {
  if constexpr (Most > 1)
    if (n < Most) return known<Most - 1>(n, body);
  body(std::integral_constant<int, Most>());
}

// c [M, N] = a [M, K] · b [K, N]; adds to c if `add`. N is a multiple of W.
inline void multiply(const Matrix& a, const float* b, int64_t bRow, float* c, int64_t cRow, int64_t M, int64_t N,
                     int64_t K, bool add = false) {
  for (int64_t n = 0; n < N; n += kColumns)
    known<kVectors>((N - n) / W, [&](auto vectors) {
      for (int64_t m = 0; m < M; m += kRows)
        known<kRows>(M - m, [&](auto rows) {
          const Matrix from{a.at + m * a.row, a.row, a.column};
          tile<decltype(rows)::value, decltype(vectors)::value>(from, b + n, bRow, K, c + m * cRow + n, cRow, add);
        });
    });
}

inline int64_t wholeVectors(int64_t size) { return (size + W - 1) / W * W; }

// Returns n rows of d elements padded with zeros to D elements: x itself if d == D, else a copy in `buffer`.
inline const float* widened(const float* x, int64_t n, int64_t d, int64_t D, std::vector<float>& buffer) {
  if (d == D) return x;
  buffer.assign(n * D, 0.0f);
  for (int64_t i = 0; i < n; i++) std::copy_n(x + i * d, d, buffer.data() + i * D);
  return buffer.data();
}

// Copies the first d elements of n rows of D elements. Does nothing if x is `to`.
inline void narrowed(const float* x, int64_t n, int64_t d, int64_t D, float* to) {
  if (x == to) return;
  for (int64_t i = 0; i < n; i++) std::copy_n(x + i * D, d, to + i * d);
}

}  // namespace florence2
