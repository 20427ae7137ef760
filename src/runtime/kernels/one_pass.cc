// Element-wise and row-wise functions and their gradients, in one pass over memory. TensorFlow makes one pass for each
// addition and multiplication in them.
//
//   Florence2Gelu           x  ->  x · Φ(x)
//   Florence2GeluGrad       x, dy  ->  dx
//   Florence2LayerNorm      x [..., C], weight [C], bias [C]  ->  [..., C]
//   Florence2LayerNormGrad  x, weight, dy  ->  dx
//   Florence2SoftmaxGrad    y, dy  ->  dx, along the last axis
//   Florence2TopOfRows      x [rows, C]  ->  [rows, 3 k + 1]: per row the top-k values in descending order, their
//                           indices (ties: lowest first), Σ exp(x - max) over the neighbours of each, and over the row

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "kernels.h"
#include "team.h"
#include "tensorflow.h"
#include "vectors.h"

namespace florence2 {
namespace {

// ---- functions of vectors ----

// The standard normal distribution at x: density φ and cumulative distribution function Φ.
struct Normal {
  Vector density, cumulative;
};

inline Normal normal(const Vector& x) {
  const Vector size = x < 0.0f ? -x : x;
  const Vector bell = expOfNegative(x * x * -0.5f);
  // erfc(z) · exp(z²) as a polynomial of t = 1 / (1 + 0.39 z), fitted with an error of 1e-8. z = |x| / √2
  const Vector t = 1.0f / (1.0f + size * (0.39f * 0.70710678f));
  Vector tail = same(-0.227537288f);
  for (const float next : {0.886665041f, -0.635401375f, 0.649560289f, 0.0913880557f, 0.235325277f}) tail = tail * t + next;
  tail = tail * t * bell * 0.5f;
  return {bell * 0.398942280f, x < 0.0f ? tail : 1.0f - tail};
}

// ---- elements ----

// Calls body(at, count) for each vector of `size` elements. The vector starts at `at` and has `count` elements.
template <class Body>
void eachVector(int64_t size, const Body& body) {
  team().run([&](int part, int parts) {
    int64_t from, to;
    share(size, part, parts, &from, &to);
    for (int64_t at = from; at < to; at += W) body(at, std::min<int64_t>(W, to - at));
  });
}

}  // namespace

void gelu(const float* x, float* y, int64_t size) {
  eachVector(size, [=](int64_t at, int64_t count) {
    const Vector v = loadSome(x + at, count);
    storeSome(y + at, v * normal(v).cumulative, count);
  });
}

namespace {

void geluGrad(const float* x, const float* dy, float* dx, int64_t size) {
  eachVector(size, [=](int64_t at, int64_t count) {
    const Vector v = loadSome(x + at, count);
    const auto [density, cumulative] = normal(v);
    storeSome(dx + at, loadSome(dy + at, count) * (cumulative + v * density), count);
  });
}

// ---- rows ----

// Calls body(row) for each of `rows` rows.
template <class Body>
void eachRow(int64_t rows, const Body& body) {
  team().run([&](int part, int parts) {
    for (int64_t row = rows * part / parts; row < rows * (part + 1) / parts; row++) body(row);
  });
}

// Returns Σ f(i, count) over the vectors of a row of C elements. f must return 0 for elements after the first `count`.
template <class Function>
float sumOver(int64_t C, const Function& f) {
  Vector total = {};
  for (int64_t i = 0; i < C; i += W) total += f(i, C - i);
  return sum(total);
}

// Returns a vector whose first `count` elements are 1 and the others 0.
inline Vector ones(int64_t count) {
  Vector v = {};
  for (int i = 0; i < W; i++) v[i] = i < count ? 1.0f : 0.0f;
  return v;
}

// The mean of a row, and 1 / √(variance + ε).
struct Spread {
  float mean, scale;
};

Spread spreadOf(const float* x, int64_t C, float epsilon) {
  const float mean = sumOver(C, [=](int64_t i, int64_t count) { return loadSome(x + i, count); }) / C;
  const float variance = sumOver(C, [=](int64_t i, int64_t count) {
    Vector deviation = loadSome(x + i, count) - mean;
    if (count < W) deviation *= ones(count);
    return deviation * deviation;
  }) / C;
  return {mean, 1.0f / std::sqrt(variance + epsilon)};
}

}  // namespace

void layerNorm(const float* x, const float* weight, const float* bias, float* y, int64_t rows, int64_t C, float epsilon) {
  eachRow(rows, [=](int64_t row) {
    const float* const from = x + row * C;
    const auto [mean, scale] = spreadOf(from, C, epsilon);
    for (int64_t i = 0; i < C; i += W) {
      const int64_t count = C - i;
      const Vector normal = (loadSome(from + i, count) - mean) * scale;
      storeSome(y + row * C + i, normal * loadSome(weight + i, count) + loadSome(bias + i, count), count);
    }
  });
}

namespace {

void layerNormGrad(const float* x, const float* weight, const float* dy, float* dx, int64_t rows, int64_t C,
                   float epsilon) {
  eachRow(rows, [=](int64_t row) {
    const float *const from = x + row * C, *const above = dy + row * C;
    const auto [mean, scale] = spreadOf(from, C, epsilon);
    const auto weighted = [=](int64_t i, int64_t count) { return loadSome(above + i, count) * loadSome(weight + i, count); };
    const auto normal = [=, mean = mean, scale = scale](int64_t i, int64_t count) {
      return (loadSome(from + i, count) - mean) * scale;
    };
    const float common = sumOver(C, weighted) / C;
    const float along = sumOver(C, [=](int64_t i, int64_t count) { return weighted(i, count) * normal(i, count); }) / C;
    for (int64_t i = 0; i < C; i += W) {
      const int64_t count = C - i;
      storeSome(dx + row * C + i, (weighted(i, count) - common - normal(i, count) * along) * scale, count);
    }
  });
}

void softmaxGrad(const float* y, const float* dy, float* dx, int64_t rows, int64_t C) {
  eachRow(rows, [=](int64_t row) {
    const float *const from = y + row * C, *const above = dy + row * C;
    const float common = sumOver(C, [=](int64_t i, int64_t count) { return loadSome(from + i, count) * loadSome(above + i, count); });
    for (int64_t i = 0; i < C; i += W) {
      const int64_t count = C - i;
      storeSome(dx + row * C + i, loadSome(from + i, count) * (loadSome(above + i, count) - common), count);
    }
  });
}

// Attributes of Florence2TopOfRows. The neighbours of index i are the indices i - radius to i + radius within
// [first, first + count). An index outside this range has no other neighbour than itself.
struct Top {
  int64_t k = 1, first = 0, count = 0, radius = 0;
};

// Returns Σ exp(x - peak) over the neighbours of `at`.
float nearby(const float* x, int64_t at, float peak, int64_t C, const Top& top) {
  const int64_t end = std::min(C, top.first + top.count);
  if (at < top.first || at >= end) return std::exp(x[at] - peak);
  float mass = 0;
  for (int64_t i = std::max(top.first, at - top.radius); i < std::min(end, at + top.radius + 1); i++) mass += std::exp(x[i] - peak);
  return mass;
}

// Of equal values, the one with the lowest index comes first.
void topOfRows(const float* x, float* y, int64_t rows, int64_t C, const Top& top) {
  const int64_t k = top.k;
  eachRow(rows, [=](int64_t row) {
    const float* const from = x + row * C;
    float *const highest = y + row * (3 * k + 1), *const places = highest + k;
    std::fill(highest, highest + k, -std::numeric_limits<float>::infinity());
    std::fill(places, places + k, 0.0f);
    for (int64_t i = 0; i < C; i++) {
      if (!(from[i] > highest[k - 1])) continue;
      int64_t at = k - 1;
      for (; at > 0 && from[i] > highest[at - 1]; at--) {
        highest[at] = highest[at - 1];
        places[at] = places[at - 1];
      }
      highest[at] = from[i];
      places[at] = i;
    }
    const float peak = highest[0];
    for (int64_t i = 0; i < k; i++) places[k + i] = nearby(from, static_cast<int64_t>(places[i]), peak, C, top);
    highest[3 * k] = sumOver(C, [=](int64_t i, int64_t count) {
      const Vector power = expOfNegative(loadSome(from + i, count) - peak);
      return count < W ? power * ones(count) : power;
    });
  });
}

// ---- TensorFlow ----

// Inputs and output of a kernel. By default the output has the shape of input 0.
class Call {
 public:
  Call(TF_OpKernelContext* context, int count) : context_(context), status_(TF_NewStatus()) {
    for (int i = 0; i < count; i++) inputs_.push_back(input(context, i, status_.get()));
  }

  const float* operator[](int i) const { return floats(inputs_[i]); }
  int64_t size(int i) const { return TF_TensorElementCount(inputs_[i].get()); }
  int64_t channels() const { return TF_NumDims(inputs_[0].get()) > 0 ? TF_Dim(inputs_[0].get(), TF_NumDims(inputs_[0].get()) - 1) : 1; }
  int64_t rows() const { return channels() > 0 ? size(0) / channels() : 0; }

  // Returns whether input i has this number of elements. If not, fails the operation.
  bool fits(int i, int64_t elements) const {
    if (size(i) == elements) return true;
    fail(context_, status_.get(), "The inputs do not fit each other.");
    return false;
  }

  // Allocates the output. If memory is exhausted, fails the operation and returns nullptr.
  float* result() { return result(shapeOf(inputs_[0])); }
  float* result(const std::vector<int64_t>& shape) {
    result_ = output(context_, shape, status_.get());
    if (TF_GetCode(status_.get()) == TF_OK) return static_cast<float*>(TF_TensorData(result_.get()));
    TF_OpKernelContext_Failure(context_, status_.get());
    return nullptr;
  }

 private:
  TF_OpKernelContext* const context_;
  const Status status_;
  std::vector<Tensor> inputs_;
  Tensor result_;
};

void computeGelu(void*, TF_OpKernelContext* context) {
  Call call(context, 1);
  if (float* const y = call.result()) gelu(call[0], y, call.size(0));
}

void computeGeluGrad(void*, TF_OpKernelContext* context) {
  Call call(context, 2);
  if (!call.fits(1, call.size(0))) return;
  if (float* const dx = call.result()) geluGrad(call[0], call[1], dx, call.size(0));
}

constexpr char kEpsilon[] = "epsilon";

void computeLayerNorm(void* kernel, TF_OpKernelContext* context) {
  Call call(context, 3);
  const int64_t C = call.channels();
  if (!call.fits(1, C) || !call.fits(2, C)) return;
  const float epsilon = *static_cast<float*>(kernel);
  if (float* const y = call.result()) layerNorm(call[0], call[1], call[2], y, call.rows(), C, epsilon);
}

void computeLayerNormGrad(void* kernel, TF_OpKernelContext* context) {
  Call call(context, 3);
  const int64_t C = call.channels();
  if (!call.fits(1, C) || !call.fits(2, call.size(0))) return;
  const float epsilon = *static_cast<float*>(kernel);
  if (float* const dx = call.result()) layerNormGrad(call[0], call[1], call[2], dx, call.rows(), C, epsilon);
}

void computeSoftmaxGrad(void*, TF_OpKernelContext* context) {
  Call call(context, 2);
  if (!call.fits(1, call.size(0))) return;
  if (float* const dx = call.result()) softmaxGrad(call[0], call[1], dx, call.rows(), call.channels());
}

void* createTop(TF_OpKernelConstruction* construction) {
  const Status status(TF_NewStatus());
  auto* const top = new Top;
  TF_OpKernelConstruction_GetAttrInt64(construction, "k", &top->k, status.get());
  TF_OpKernelConstruction_GetAttrInt64(construction, "first", &top->first, status.get());
  TF_OpKernelConstruction_GetAttrInt64(construction, "count", &top->count, status.get());
  TF_OpKernelConstruction_GetAttrInt64(construction, "radius", &top->radius, status.get());
  return top;
}

void computeTopOfRows(void* kernel, TF_OpKernelContext* context) {
  Call call(context, 1);
  const Top& top = *static_cast<Top*>(kernel);
  if (float* const y = call.result({call.rows(), 3 * top.k + 1})) topOfRows(call[0], y, call.rows(), call.channels(), top);
}

void nothing(void*) {}
void* createNothing(TF_OpKernelConstruction*) { return nullptr; }

// A kernel without attributes.
template <void (*compute)(void*, TF_OpKernelContext*)>
void registerPlain(const char* name, std::vector<const char*> inputs, TF_Status* status) {
  define(name, std::move(inputs), {"result: float"}, {}, status);
  registerKernel<compute>(name, &createNothing, &nothing, status);
}

// A kernel with the attribute `epsilon`.
template <void (*compute)(void*, TF_OpKernelContext*)>
void registerNorm(const char* name, std::vector<const char*> inputs, TF_Status* status) {
  define(name, std::move(inputs), {"result: float"}, {"epsilon: float"}, status);
  registerKernel<compute>(name, &createNumber<kEpsilon>, &destroy<float>, status);
}

}  // namespace

void registerOnePass(TF_Status* status) {
  registerPlain<&computeGelu>("Florence2Gelu", {"x: float"}, status);
  registerPlain<&computeGeluGrad>("Florence2GeluGrad", {"x: float", "dy: float"}, status);
  registerNorm<&computeLayerNorm>("Florence2LayerNorm", {"x: float", "weight: float", "bias: float"}, status);
  registerNorm<&computeLayerNormGrad>("Florence2LayerNormGrad", {"x: float", "weight: float", "dy: float"}, status);
  registerPlain<&computeSoftmaxGrad>("Florence2SoftmaxGrad", {"y: float", "dy: float"}, status);
  define("Florence2TopOfRows", {"x: float"}, {"result: float"}, {"k: int >= 1", "first: int >= 0", "count: int >= 0", "radius: int >= 0"}, status);
  registerKernel<&computeTopOfRows>("Florence2TopOfRows", &createTop, &destroy<Top>, status);
}

}  // namespace florence2
