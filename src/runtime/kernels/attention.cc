// Scaled dot-product attention that does not write the scores to memory: it processes blocks of queries whose scores
// stay in the cache, after Dao et al. 2022, https://arxiv.org/abs/2205.14135. Unlike there, a block has whole rows of
// scores, so softmax needs no rescaling.
//
//   Florence2Attention      query [B, H, T, d], key and value [B, H, S, d], mask [B or 1, 1, T or 1, S] or [0]
//                           ->  softmax(query · keyᵀ · scale + mask) · value [B, H, T, d]
//   Florence2AttentionGrad  the same inputs, dz [B, H, T, d]  ->  dquery, dkey, dvalue

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels.h"
#include "products.h"
#include "team.h"
#include "tensorflow.h"
#include "vectors.h"

namespace florence2 {
namespace {

// ---- products with a transpose ----

// The transpose of x [n, d], stored in panels of kColumns columns. Columns are padded with zeros to whole vectors.
class Transposed {
 public:
  void set(const float* x, int64_t n, int64_t d) {
    N_ = wholeVectors(n);
    d_ = d;
    values_.assign(N_ * d, 0.0f);
    for (int64_t begin = 0; begin < n; begin += kColumns) {
      float* const panel = values_.data() + begin * d;
      for (int64_t i = begin; i < std::min(n, begin + kColumns); i++)
        for (int64_t k = 0; k < d; k++) panel[k * width(begin) + i - begin] = x[i * d + k];
    }
  }

  // c [M, N] = a [M, d] · this
  void multiplyBy(const float* a, float* c, int64_t cRow, int64_t M) const {
    for (int64_t begin = 0; begin < N_; begin += kColumns)
      multiply({a, d_, 1}, values_.data() + begin * d_, width(begin), c + begin, cRow, M, width(begin), d_);
  }

 private:
  int64_t width(int64_t begin) const { return std::min<int64_t>(kColumns, N_ - begin); }

  int64_t N_ = 0, d_ = 0;
  std::vector<float> values_;
};

// ---- attention ----

// Queries per block: the scores of a block stay in the second-level cache.
constexpr int64_t kQueries = 4 * kRows;

const float* maskOf(const Mask& mask, const Heads& size, int64_t head, int64_t t) {
  return mask.values ? mask.values + (mask.batch ? head / size.H * (mask.queries ? size.T : 1) * size.S : 0) +
                           (mask.queries ? t * size.S : 0)
                     : nullptr;
}

// Replaces the S scores of a row by exp(row · scale + mask - max) and returns their sum; the caller divides by it. The
// row's buffer extends to whole vectors.
float expOfScores(float* row, const float* mask, float scale, int64_t S) {
  const int64_t end = wholeVectors(S);
  for (int64_t s = 0; s < S; s++) row[s] *= scale;
  for (int64_t s = 0; mask && s < S; s++) row[s] += mask[s];
  std::fill(row + S, row + end, -INFINITY);
  Vector highest = load(row);
  for (int64_t s = 0; s < end; s += W) {
    const Vector scores = load(row + s);
    highest = scores > highest ? scores : highest;
  }
  float most = highest[0];
  for (int i = 1; i < W; i++) most = std::max(most, highest[i]);
  Vector total = {};
  for (int64_t s = 0; s < end; s += W) {
    const Vector weights = expOfNegative(load(row + s) - most);
    store(row + s, weights);
    total += weights;
  }
  return sum(total);
}

}  // namespace

// ---- few queries: a decode step ----

void fewQueries(const float* query, const Parts& key, const Parts& value, const Mask& mask, float scale, float* z,
                const Heads& size) {
  const auto [B, H, T, S, d] = size;
  team().run([&, B = B, H = H, T = T, S = S, d = d](int part, int parts) {
    const int64_t row = wholeVectors(S);
    std::vector<float> scores(T * row);
    // Calls body(s, vector) for each of a head's keys or values.
    const auto each = [&](const Parts& of, int64_t head, const auto& body) {
      const float* const first = of.first + head * of.begun * d;
      const float* const rest = of.rest + head * (S - of.begun) * d;
      for (int64_t s = 0; s < of.begun; s++) body(s, first + s * d);
      for (int64_t s = of.begun; s < S; s++) body(s, rest + (s - of.begun) * d);
    };
    for (int64_t head = part; head < B * H; head += parts) {
      const float* const q = query + head * T * d;
      float* const to = z + head * T * d;
      each(key, head, [&](int64_t s, const float* k) {
        for (int64_t t = 0; t < T; t++) scores[t * row + s] = dot(q + t * d, k, d);
      });
      for (int64_t t = 0; t < T; t++) {
        float* const weights = scores.data() + t * row;
        const float total = expOfScores(weights, maskOf(mask, size, head, t), scale, S);
        for (int64_t s = 0; s < S; s++) weights[s] /= total;
      }
      std::fill_n(to, T * d, 0.0f);
      each(value, head, [&](int64_t s, const float* v) {
        for (int64_t t = 0; t < T; t++) {
          const float weight = scores[t * row + s];
          int64_t i = 0;
          for (; i + W <= d; i += W) store(to + t * d + i, load(to + t * d + i) + weight * load(v + i));
          for (; i < d; i++) to[t * d + i] += weight * v[i];
        }
      });
    }
  });
}

namespace {

// ---- many queries ----

// The queries of all heads are distributed over the threads.
void manyQueries(const float* query, const float* key, const float* value, const Mask& mask, float scale, float* z,
                 const Heads& size) {
  const auto [B, H, T, S, d] = size;
  const int64_t D = wholeVectors(d), row = wholeVectors(S);
  team().run([&, B = B, H = H, T = T, S = S, d = d](int part, int parts) {
    Transposed keys;
    std::vector<float> scores(kQueries * row), wide(kQueries * D), buffer;
    int64_t head = -1;
    const float* values = nullptr;
    const int64_t end = B * H * T * (part + 1) / parts;
    for (int64_t at = B * H * T * part / parts; at < end;) {
      if (at / T != head) {
        head = at / T;
        keys.set(key + head * S * d, S, d);
        values = widened(value + head * S * d, S, d, D, buffer);
      }
      const int64_t count = std::min({kQueries, (head + 1) * T - at, end - at});
      keys.multiplyBy(query + at * d, scores.data(), row, count);
      float totals[kQueries];
      for (int64_t i = 0; i < count; i++)
        totals[i] = expOfScores(scores.data() + i * row, maskOf(mask, size, head, at - head * T + i), scale, S);
      float* const to = d == D ? z + at * d : wide.data();
      multiply({scores.data(), row, 1}, values, D, to, D, count, D, S);
      for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < D; j += W) store(to + i * D + j, load(to + i * D + j) / totals[i]);
      narrowed(to, count, d, D, z + at * d);
      at += count;
    }
  });
}

// The heads are distributed over the threads.
void attentionGrad(const float* query, const float* key, const float* value, const Mask& mask, const float* dz, float scale,
                   float* dquery, float* dkey, float* dvalue, const Heads& size) {
  const auto [B, H, T, S, d] = size;
  const int64_t D = wholeVectors(d), row = wholeVectors(S);
  team().run([&, B = B, H = H, T = T, S = S, d = d](int part, int parts) {
    Transposed keys, values;
    std::vector<float> weights(kQueries * row), rises(kQueries * row), dq(kQueries * D), dk(S * D), dv(S * D);
    std::vector<float> wideKeys, wideQueries, wideRises;
    for (int64_t head = part; head < B * H; head += parts) {
      const float *const q = query + head * T * d, *const k = key + head * S * d, *const v = value + head * S * d;
      keys.set(k, S, d);
      values.set(v, S, d);
      const float* const wholeKeys = widened(k, S, d, D, wideKeys);
      std::fill(dk.begin(), dk.end(), 0.0f);
      std::fill(dv.begin(), dv.end(), 0.0f);
      for (int64_t t = 0; t < T; t += kQueries) {
        const int64_t count = std::min(kQueries, T - t);
        const float *const qs = q + t * d, *const dzs = dz + (head * T + t) * d;
        keys.multiplyBy(qs, weights.data(), row, count);  // scores
        values.multiplyBy(dzs, rises.data(), row, count);  // gradients of the weights
        for (int64_t i = 0; i < count; i++) {
          float *const w = weights.data() + i * row, *const rise = rises.data() + i * row;
          const float total = expOfScores(w, maskOf(mask, size, head, t + i), scale, S);
          Vector along = {};
          for (int64_t s = 0; s < row; s += W) {
            store(w + s, load(w + s) / total);
            along += load(w + s) * load(rise + s);
          }
          const float mean = sum(along);
          for (int64_t s = 0; s < row; s += W) store(rise + s, load(w + s) * (load(rise + s) - mean) * scale);
        }
        multiply({rises.data(), row, 1}, wholeKeys, D, dq.data(), D, count, D, S);
        narrowed(dq.data(), count, d, D, dquery + (head * T + t) * d);
        multiply({weights.data(), 1, row}, widened(dzs, count, d, D, wideRises), D, dv.data(), D, S, D, count, true);
        multiply({rises.data(), 1, row}, widened(qs, count, d, D, wideQueries), D, dk.data(), D, S, D, count, true);
      }
      narrowed(dk.data(), S, d, D, dkey + head * S * d);
      narrowed(dv.data(), S, d, D, dvalue + head * S * d);
    }
  });
}

}  // namespace

void attention(const float* query, const float* key, const float* value, const Mask& mask, float scale, float* z,
               const Heads& size) {
  // With few queries, transposing the keys takes longer than multiplying by them untransposed.
  size.T < kRows ? fewQueries(query, {key, key, size.S}, {value, value, size.S}, mask, scale, z, size)
                 : manyQueries(query, key, value, mask, scale, z, size);
}

const char* attentionMisfit(const std::vector<int64_t>& query, const std::vector<int64_t>& key,
                            const std::vector<int64_t>& value, const std::vector<int64_t>& mask) {
  if (query.size() != 4 || key.size() != 4 || value.size() != 4) return "query, key and value must have four axes.";
  const bool fits = key[0] == query[0] && key[1] == query[1] && key[3] == query[3] && value == key && key[2] > 0;
  if (!fits) return "query, key and value do not fit each other.";
  if (mask.size() == 1 && mask[0] == 0) return nullptr;
  const bool masks = mask.size() == 4 && (mask[0] == 1 || mask[0] == query[0]) && mask[1] == 1 &&
                     (mask[2] == 1 || mask[2] == query[2]) && mask[3] == key[2];
  return masks ? nullptr : "The mask does not fit query and key.";
}

namespace {

// ---- TensorFlow ----

constexpr char kScale[] = "scale";

// The inputs that both operations have.
struct Call {
  Call(void* kernel, TF_OpKernelContext* context)
      : scale(*static_cast<float*>(kernel)),
        status(TF_NewStatus()),
        query(input(context, 0, status.get())),
        key(input(context, 1, status.get())),
        value(input(context, 2, status.get())),
        mask(input(context, 3, status.get())),
        misfit(attentionMisfit(shapeOf(query), shapeOf(key), shapeOf(value), shapeOf(mask))) {}

  Heads size() const { return {side(query, 0), side(query, 1), side(query, 2), side(key, 2), side(query, 3)}; }
  Mask hidden() const { return maskOfShape(floats(mask), shapeOf(mask)); }

  const float scale;
  const Status status;
  const Tensor query, key, value, mask;
  const char* const misfit;
};

void compute(void* kernel, TF_OpKernelContext* context) {
  const Call call(kernel, context);
  if (call.misfit) return fail(context, call.status.get(), call.misfit);
  const Tensor z = output(context, shapeOf(call.query), call.status.get());
  if (TF_GetCode(call.status.get()) != TF_OK) return TF_OpKernelContext_Failure(context, call.status.get());
  attention(floats(call.query), floats(call.key), floats(call.value), call.hidden(), call.scale, toFloats(z), call.size());
}

void computeGrad(void* kernel, TF_OpKernelContext* context) {
  const Call call(kernel, context);
  TF_Status* const status = call.status.get();
  if (call.misfit) return fail(context, status, call.misfit);
  const Tensor dz = input(context, 4, status);
  if (shapeOf(dz) != shapeOf(call.query)) return fail(context, status, "The gradient does not have the query's shape.");
  const Tensor dquery = output(context, shapeOf(call.query), status, 0);
  const Tensor dkey = output(context, shapeOf(call.key), status, 1);
  const Tensor dvalue = output(context, shapeOf(call.key), status, 2);
  if (TF_GetCode(status) != TF_OK) return TF_OpKernelContext_Failure(context, status);
  attentionGrad(floats(call.query), floats(call.key), floats(call.value), call.hidden(), floats(dz), call.scale,
                toFloats(dquery), toFloats(dkey), toFloats(dvalue), call.size());
}

}  // namespace

void registerAttention(TF_Status* status) {
  define("Florence2Attention", {"query: float", "key: float", "value: float", "mask: float"}, {"z: float"}, {"scale: float"},
         status);
  registerKernel<&compute>("Florence2Attention", &createNumber<kScale>, &destroy<float>, status);
  define("Florence2AttentionGrad", {"query: float", "key: float", "value: float", "mask: float", "dz: float"},
         {"dquery: float", "dkey: float", "dvalue: float"}, {"scale: float"}, status);
  registerKernel<&computeGrad>("Florence2AttentionGrad", &createNumber<kScale>, &destroy<float>, status);
}

}  // namespace florence2
