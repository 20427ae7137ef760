// Vectors of floats as wide as a register, for all instruction sets.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__F16C__) || defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace florence2 {

#if defined(__AVX512F__)
constexpr int W = 16;
#elif defined(__AVX__)
constexpr int W = 8;
#else
constexpr int W = 4;
#endif
typedef float Vector __attribute__((vector_size(4 * W)));

inline Vector load(const float* from) {
  Vector v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

inline void store(float* to, const Vector& v) { std::memcpy(to, &v, sizeof v); }

struct Half {
  uint16_t bits;
};

inline float widen(float value) { return value; }

inline float widen(Half half) {
#if defined(__F16C__)
  return _cvtsh_ss(half.bits);
#elif defined(__aarch64__)
  __fp16 value;
  std::memcpy(&value, &half, sizeof value);
  return value;
#else
  const uint32_t sign = (half.bits & 0x8000u) << 16, rest = half.bits & 0x7fffu;
  if (rest >= 0x7c00u) {  // infinity or NaN
    const uint32_t bits = sign | 0x7f800000u | (rest & 0x3ffu) << 13;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  float value;
  if (rest < 0x400u) {
    value = static_cast<float>(rest) * 5.96046448e-8f;  // subnormal, in steps of 2^-24
  } else {
    const uint32_t bits = (rest << 13) + (112u << 23);  // the exponent bias is 127 in fp32 and 15 in fp16
    std::memcpy(&value, &bits, sizeof value);
  }
  return sign ? -value : value;
#endif
}

inline Vector load(const Half* from) {
  Vector v;
#if defined(__AVX512F__)
  const __m512 wide = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  std::memcpy(&v, &wide, sizeof v);
#elif defined(__F16C__)
  const __m256 wide = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  std::memcpy(&v, &wide, sizeof v);
#elif defined(__aarch64__)
  const float32x4_t wide = vcvt_f32_f16(vld1_f16(reinterpret_cast<const __fp16*>(from)));
  std::memcpy(&v, &wide, sizeof v);
#else
  for (int i = 0; i < W; i++) v[i] = widen(from[i]);
#endif
  return v;
}

inline float sum(const Vector& v) {
  float parts[W];
  std::memcpy(parts, &v, sizeof v);
  for (int half = W / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) parts[i] += parts[i + half];
  return parts[0];
}

inline float dot(const float* a, const float* b, int size) {
  Vector total = {};
  int i = 0;
  for (; i + W <= size; i += W) total += load(a + i) * load(b + i);
  float rest = sum(total);
  for (; i < size; i++) rest += a[i] * b[i];
  return rest;
}

// Loads the first `count` elements; the others are 0.
inline Vector loadSome(const float* from, int64_t count) {
  if (count >= W) return load(from);
  Vector v = {};
  std::memcpy(&v, from, 4 * count);
  return v;
}

inline void storeSome(float* to, const Vector& v, int64_t count) { std::memcpy(to, &v, 4 * std::min<int64_t>(W, count)); }

typedef uint32_t Integers __attribute__((vector_size(4 * W)));

// Returns a vector whose elements are all `value`.
inline Vector same(float value) { return value - Vector{}; }

// exp(x) for x ≤ 0, computed as 2^n · exp(r) with |r| ≤ ln 2 / 2. x is clamped to -87, near the smallest normal float.
inline Vector expOfNegative(const Vector& x) {
  const Vector clamped = x < -87.0f ? same(-87.0f) : x;
  const float shift = 12582912.0f;  // 1.5 · 2^23: adding it rounds to an integer
  const Vector shifted = clamped * 1.44269504f + shift;
  const Vector n = shifted - shift;
  const Vector r = clamped - n * 0.693145752f - n * 1.42860677e-6f;  // ln 2 in two parts, for precision
  Vector series = same(1.0f / 5040);
  for (const float divisor : {720.0f, 120.0f, 24.0f, 6.0f, 2.0f, 1.0f, 1.0f}) series = series * r + 1.0f / divisor;
  const Integers exponent = (Integers)shifted << 23;
  const Integers bits = (Integers)series + exponent;
  return (Vector)bits;
}

}  // namespace florence2
