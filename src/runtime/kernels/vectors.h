// Vectors of sixteen floats, for all instruction sets: they become whatever the compiler is told to use.

#pragma once

#include <cstdint>
#include <cstring>

#if defined(__F16C__) || defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace florence2 {

constexpr int W = 16;
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
  if (rest >= 0x7c00u) {  // infinite, or not a number
    const uint32_t bits = sign | 0x7f800000u | (rest & 0x3ffu) << 13;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  float value;
  if (rest < 0x400u) {
    value = static_cast<float>(rest) * 5.96046448e-8f;  // subnormal, in steps of 2^-24
  } else {
    const uint32_t bits = (rest << 13) + (112u << 23);  // a float's exponent counts from 112 further down
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
  __m256 wide[2];
  for (int i = 0; i < 2; i++) wide[i] = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 8 * i)));
  std::memcpy(&v, wide, sizeof v);
#elif defined(__aarch64__)
  float32x4_t wide[4];
  for (int i = 0; i < 4; i++) wide[i] = vcvt_f32_f16(vld1_f16(reinterpret_cast<const __fp16*>(from + 4 * i)));
  std::memcpy(&v, wide, sizeof v);
#else
  for (int i = 0; i < W; i++) v[i] = widen(from[i]);
#endif
  return v;
}

inline float sum(const Vector& v) {
  typedef float Eight __attribute__((vector_size(32)));
  typedef float Four __attribute__((vector_size(16)));
  Eight eights[2];
  std::memcpy(eights, &v, sizeof v);
  const Eight eight = eights[0] + eights[1];
  Four fours[2];
  std::memcpy(fours, &eight, sizeof eight);
  const Four four = fours[0] + fours[1];
  return (four[0] + four[1]) + (four[2] + four[3]);
}

inline float dot(const float* a, const float* b, int size) {
  Vector total = {};
  int i = 0;
  for (; i + W <= size; i += W) total += load(a + i) * load(b + i);
  float rest = sum(total);
  for (; i < size; i++) rest += a[i] * b[i];
  return rest;
}

}  // namespace florence2
