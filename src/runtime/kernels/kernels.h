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

// Batch, heads, queries, keys, size of a head.
struct Heads {
  int64_t B, H, T, S, d;
};

// z [B, H, T, d] = softmax(query [B, H, T, d] · key [B, H, S, d]ᵀ · scale + mask [B, S] or nullptr) · value [B, H, S, d]
void fewQueries(const float* query, const float* key, const float* value, const float* mask, float scale, float* z,
                const Heads& size);

// ---- one_pass.cc ----

void registerOnePass(TF_Status* status);

// y = x · Φ(x) of each element. y may be x.
void gelu(const float* x, float* y, int64_t size);

// y [rows, C] = x [rows, C] with mean 0 and variance 1, · weight [C] + bias [C]
void layerNorm(const float* x, const float* weight, const float* bias, float* y, int64_t rows, int64_t C, float epsilon);

// ---- widen.cc ----

void registerWiden(TF_Status* status);

// ---- program.cc ----

void registerProgram(TF_Status* status);

// Makes a program known, and gives its number. See program.cc for what it consists of.
int64_t addProgram(std::vector<int64_t> code, std::vector<int64_t> values);
void removeProgram(int64_t number);

}  // namespace florence2
