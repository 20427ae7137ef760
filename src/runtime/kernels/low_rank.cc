// The low-rank term of a LoRA adapter, in one pass over the layer's input and output. TensorFlow's matrix products take
// several times as long for matrices of so few columns.
//
//   Florence2LowRank      y [N, out], x [N, in], a [in, r], b [r, out]  ->  y + scale · (x · a) · b
//   Florence2LowRankGrad  x, a, b, dy [N, out]  ->  dx, da, db

#include <algorithm>
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

// Sizes: rows, inputs and outputs of the layer, rank. The wide… sizes are rounded up to whole vectors.
struct Size {
  int64_t N, in, out, r;
  int64_t wideIn = wholeVectors(in), wideOut = wholeVectors(out), wideR = wholeVectors(r);
};

// Rows per block: a block stays in the second-level cache.
constexpr int64_t kRowsAtOnce = 6 * kRows;

// Calls body(row, count) for each block of rows that belongs to this part.
template <class Body>
void eachRows(int64_t N, int part, int parts, const Body& body) {
  const int64_t end = N * (part + 1) / parts;
  for (int64_t row = N * part / parts; row < end; row += kRowsAtOnce) body(row, std::min(kRowsAtOnce, end - row));
}

// Returns the transpose of x [rows, columns], each row padded with zeros to whole vectors.
std::vector<float> transposed(const float* x, int64_t rows, int64_t columns) {
  const int64_t wide = wholeVectors(rows);
  std::vector<float> turned(columns * wide);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j++) turned[j * wide + i] = x[i * columns + j];
  return turned;
}

// hidden [count, wideR] = x [count, K] · factor [K, wideR] · scale
void toRank(const float* x, int64_t K, const float* factor, float scale, float* hidden, int64_t count, const Size& size) {
  multiply({x, K, 1}, factor, size.wideR, hidden, size.wideR, count, size.wideR, K);
  for (int64_t i = 0; i < count * size.wideR; i++) hidden[i] *= scale;
}

void lowRank(const float* y, const float* x, const float* a, const float* b, float scale, float* z, const Size& size) {
  std::vector<float> aBuffer, bBuffer;
  const float* const aWide = widened(a, size.in, size.r, size.wideR, aBuffer);
  const float* const bWide = widened(b, size.r, size.out, size.wideOut, bBuffer);
  team().run([&](int part, int parts) {
    std::vector<float> hidden(kRowsAtOnce * size.wideR), wide(kRowsAtOnce * size.wideOut);
    eachRows(size.N, part, parts, [&](int64_t row, int64_t count) {
      toRank(x + row * size.in, size.in, aWide, scale, hidden.data(), count, size);
      float* const to = size.out == size.wideOut ? z + row * size.out : wide.data();
      for (int64_t i = 0; i < count; i++) std::copy_n(y + (row + i) * size.out, size.out, to + i * size.wideOut);
      multiply({hidden.data(), size.wideR, 1}, bWide, size.wideOut, to, size.wideOut, count, size.wideOut, size.r, true);
      narrowed(to, count, size.out, size.wideOut, z + row * size.out);
    });
  });
}

void lowRankGrad(const float* x, const float* a, const float* b, const float* dy, float scale, float* dx, float* da,
                 float* db, const Size& size) {
  std::vector<float> aBuffer;
  const float* const aWide = widened(a, size.in, size.r, size.wideR, aBuffer);
  const std::vector<float> aTransposed = transposed(a, size.in, size.r), bTransposed = transposed(b, size.r, size.out);
  std::vector<std::vector<float>> das(team().size()), dbs(team().size());  // sums of each thread
  team().run([&](int part, int parts) {
    das[part].assign(size.in * size.wideR, 0.0f);
    dbs[part].assign(size.r * size.wideOut, 0.0f);
    std::vector<float> hidden(kRowsAtOnce * size.wideR), dhidden(kRowsAtOnce * size.wideR);
    std::vector<float> wide(kRowsAtOnce * size.wideIn), buffer;
    eachRows(size.N, part, parts, [&](int64_t row, int64_t count) {
      const float *const xs = x + row * size.in, *const dys = dy + row * size.out;
      toRank(xs, size.in, aWide, scale, hidden.data(), count, size);
      toRank(dys, size.out, bTransposed.data(), scale, dhidden.data(), count, size);
      float* const to = size.in == size.wideIn ? dx + row * size.in : wide.data();
      multiply({dhidden.data(), size.wideR, 1}, aTransposed.data(), size.wideIn, to, size.wideIn, count, size.wideIn,
                   size.r);
      narrowed(to, count, size.in, size.wideIn, dx + row * size.in);
      multiply({xs, 1, size.in}, dhidden.data(), size.wideR, das[part].data(), size.wideR, size.in, size.wideR, count,
                   true);
      multiply({hidden.data(), 1, size.wideR}, widened(dys, count, size.out, size.wideOut, buffer), size.wideOut,
                   dbs[part].data(), size.wideOut, size.r, size.wideOut, count, true);
    });
  });
  for (size_t part = 1; part < das.size(); part++) {
    for (size_t i = 0; i < das[0].size(); i++) das[0][i] += das[part][i];
    for (size_t i = 0; i < dbs[0].size(); i++) dbs[0][i] += dbs[part][i];
  }
  narrowed(das[0].data(), size.in, size.r, size.wideR, da);
  narrowed(dbs[0].data(), size.r, size.out, size.wideOut, db);
}

// ---- TensorFlow ----

constexpr char kScale[] = "scale";

// Returns whether the factors' shapes fit a layer from x to y. If not, fails the operation.
bool fits(TF_OpKernelContext* context, TF_Status* status, const Tensor& x, const Tensor& a, const Tensor& b,
          const Tensor& y) {
  const auto sides = {x.get(), a.get(), b.get(), y.get()};
  const bool matrices = std::all_of(sides.begin(), sides.end(), [](TF_Tensor* each) { return TF_NumDims(each) == 2; });
  if (matrices && side(y, 0) == side(x, 0) && side(a, 0) == side(x, 1) && side(b, 0) == side(a, 1) &&
      side(b, 1) == side(y, 1) && side(a, 1) > 0)
    return true;
  fail(context, status, "The factors do not fit the layer.");
  return false;
}

Size sizeOf(const Tensor& x, const Tensor& b) { return {side(x, 0), side(x, 1), side(b, 1), side(b, 0)}; }

void compute(void* scale, TF_OpKernelContext* context) {
  const Status status(TF_NewStatus());
  const Tensor y = input(context, 0, status.get()), x = input(context, 1, status.get());
  const Tensor a = input(context, 2, status.get()), b = input(context, 3, status.get());
  if (!fits(context, status.get(), x, a, b, y)) return;
  const Tensor z = output(context, shapeOf(y), status.get());
  if (TF_GetCode(status.get()) != TF_OK) return TF_OpKernelContext_Failure(context, status.get());
  lowRank(floats(y), floats(x), floats(a), floats(b), *static_cast<float*>(scale), toFloats(z), sizeOf(x, b));
}

void computeGrad(void* scale, TF_OpKernelContext* context) {
  const Status status(TF_NewStatus());
  const Tensor x = input(context, 0, status.get()), a = input(context, 1, status.get());
  const Tensor b = input(context, 2, status.get()), dy = input(context, 3, status.get());
  if (!fits(context, status.get(), x, a, b, dy)) return;
  const Tensor dx = output(context, shapeOf(x), status.get(), 0);
  const Tensor da = output(context, shapeOf(a), status.get(), 1);
  const Tensor db = output(context, shapeOf(b), status.get(), 2);
  if (TF_GetCode(status.get()) != TF_OK) return TF_OpKernelContext_Failure(context, status.get());
  lowRankGrad(floats(x), floats(a), floats(b), floats(dy), *static_cast<float*>(scale), toFloats(dx), toFloats(da),
              toFloats(db), sizeOf(x, b));
}

}  // namespace

void registerLowRank(TF_Status* status) {
  define("Florence2LowRank", {"y: float", "x: float", "a: float", "b: float"}, {"z: float"}, {"scale: float"}, status);
  registerKernel<&compute>("Florence2LowRank", &createNumber<kScale>, &destroy<float>, status);
  define("Florence2LowRankGrad", {"x: float", "a: float", "b: float", "dy: float"}, {"dx: float", "da: float", "db: float"},
         {"scale: float"}, status);
  registerKernel<&computeGrad>("Florence2LowRankGrad", &createNumber<kScale>, &destroy<float>, status);
}

}  // namespace florence2
