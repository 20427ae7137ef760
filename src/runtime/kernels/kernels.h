// The kernels of this addon, by source file.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tensorflow/c/tf_status.h"

namespace florence2 {

// ---- few_rows.cc ----

void registerFewRows(TF_Status* status);

// A weight [K, N], or [N, K] if transposed.
struct Weight {
  const void* values;  // fp32 or fp16
  bool half, transposed;
};

// y [M, N] = x [M, K] · weight + bias [N]. bias may be nullptr; withGelu applies GELU to the result.
void fewRowsMatMul(const float* x, const Weight& weight, const float* bias, bool withGelu, float* y, int64_t M, int64_t K,
                   int64_t N);

// ---- attention.cc ----

void registerAttention(TF_Status* status);

// Sizes: batch, heads, queries, keys, dimensions of a head.
struct Heads {
  int64_t B, H, T, S, d;
};

// An additive mask of the scores, or nullptr. [S], or [T, S] if `queries`; one per image of the batch if `batch`.
struct Mask {
  const float* values;
  bool queries, batch;
};

// Returns the mask of a tensor [B or 1, 1, T or 1, S]. Shape [0] means no mask.
inline Mask maskOfShape(const float* values, const std::vector<int64_t>& shape) {
  return shape.size() == 4 ? Mask{values, shape[2] > 1, shape[0] > 1} : Mask{};
}

// Keys or values [B, H, S, d] in two buffers: `first` contains the first `begun` of the S positions of each head,
// `rest` the others.
struct Parts {
  const float *first, *rest;
  int64_t begun;
};

// Computes the same as `attention`; faster for few queries.
void fewQueries(const float* query, const Parts& key, const Parts& value, const Mask& mask, float scale, float* z,
                const Heads& size);

// z [B, H, T, d] = softmax(query [B, H, T, d] · key [B, H, S, d]ᵀ · scale + mask) · value [B, H, S, d]
void attention(const float* query, const float* key, const float* value, const Mask& mask, float scale, float* z,
               const Heads& size);

// Returns an error message if these shapes do not match, else nullptr.
const char* attentionMisfit(const std::vector<int64_t>& query, const std::vector<int64_t>& key,
                            const std::vector<int64_t>& value, const std::vector<int64_t>& mask);

// ---- low_rank.cc ----

void registerLowRank(TF_Status* status);

// ---- one_pass.cc ----

void registerOnePass(TF_Status* status);

// y = x · Φ(x), element by element. y may be x.
void gelu(const float* x, float* y, int64_t size);

// y [rows, C] = (x [rows, C] normalised to mean 0 and variance 1) · weight [C] + bias [C]
void layerNorm(const float* x, const float* weight, const float* bias, float* y, int64_t rows, int64_t C, float epsilon);

// ---- read_weight.cc ----

void registerReadWeight(TF_Status* status);

// ---- program.cc ----

void registerProgram(TF_Status* status);

// ---- programs.cc ----

// See program.cc for the format.
struct Program {
  std::vector<int64_t> code, values;
};

// Returns nullptr if no program has this number.
std::shared_ptr<const Program> findProgram(int64_t number);

// Registers a program and returns its number.
int64_t addProgram(std::vector<int64_t> code, std::vector<int64_t> values);
void removeProgram(int64_t number);

}  // namespace florence2
