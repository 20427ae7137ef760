// The kernels of this addon, by source file.

#pragma once

#include <cstdint>
#include <vector>

#include "tensorflow/c/tf_status.h"

namespace florence2 {

// ---- few_rows.cc ----

void registerFewRows(TF_Status* status);

// [K, N], or transposed: [N, K].
struct Weight {
  const void* values;  // floats or halves
  bool half, transposed;
};

// y [M, N] = x [M, K] · weight + bias [N] or nullptr, and GELU of that
void fewRowsMatMul(const float* x, const Weight& weight, const float* bias, bool withGelu, float* y, int64_t M, int64_t K,
                   int64_t N);

// ---- attention.cc ----

void registerAttention(TF_Status* status);

// Batch, heads, queries, keys, size of a head.
struct Heads {
  int64_t B, H, T, S, d;
};

// Numbers that are added to scores, or nullptr: [S] for all queries or [T, S], for the whole batch or for each of it.
struct Mask {
  const float* values;
  bool queries, batch;
};

// A mask of the shape [B or 1, 1, T or 1, S]; none of [0].
inline Mask maskOfShape(const float* values, const std::vector<int64_t>& shape) {
  return shape.size() == 4 ? Mask{values, shape[2] > 1, shape[0] > 1} : Mask{};
}

// Keys or values [B, H, S, d] in two parts: of each head the first `begun` of its S lie in one place, the others in another.
struct Parts {
  const float *first, *rest;
  int64_t begun;
};

// As attention, for a few queries.
void fewQueries(const float* query, const Parts& key, const Parts& value, const Mask& mask, float scale, float* z,
                const Heads& size);

// z [B, H, T, d] = softmax(query [B, H, T, d] · key [B, H, S, d]ᵀ · scale + mask) · value [B, H, S, d]
void attention(const float* query, const float* key, const float* value, const Mask& mask, float scale, float* z,
               const Heads& size);

// What is wrong with tensors of these shapes, or nullptr.
const char* attentionMisfit(const std::vector<int64_t>& query, const std::vector<int64_t>& key,
                            const std::vector<int64_t>& value, const std::vector<int64_t>& mask);

// ---- low_rank.cc ----

void registerLowRank(TF_Status* status);

// ---- one_pass.cc ----

void registerOnePass(TF_Status* status);

// y = x · Φ(x) of each element. y may be x.
void gelu(const float* x, float* y, int64_t size);

// y [rows, C] = x [rows, C] with mean 0 and variance 1, · weight [C] + bias [C]
void layerNorm(const float* x, const float* weight, const float* bias, float* y, int64_t rows, int64_t C, float epsilon);

// ---- read_weight.cc ----

void registerReadWeight(TF_Status* status);

// ---- program.cc ----

void registerProgram(TF_Status* status);

// Makes a program known, and gives its number. See program.cc for what it consists of.
int64_t addProgram(std::vector<int64_t> code, std::vector<int64_t> values);
void removeProgram(int64_t number);

}  // namespace florence2
