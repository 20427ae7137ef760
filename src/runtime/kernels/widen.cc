// Weights as they lie in a file, in halves, as this model has them in memory: read from a file's bytes in one pass.
//
//   Florence2WidenHalves  pairs of halves [rows · columns / 2], rows, columns, transposed
//                         ->  floats [rows, columns], transposed: [columns, rows]

#include <algorithm>
#include <cstdint>

#include "kernels.h"
#include "team.h"
#include "tensorflow.h"
#include "vectors.h"

namespace florence2 {
namespace {

void widen(const Half* from, float* to, int64_t size) {
  team().run([=](int part, int parts) {
    int64_t i, end;
    share(size, part, parts, &i, &end);
    for (; i + W <= end; i += W) store(to + i, load(from + i));
    for (; i < end; i++) to[i] = florence2::widen(from[i]);
  });
}

// Tile by tile, each of which fits into the vector registers. The threads share the columns, which are written in a row.
void widenTransposed(const Half* from, float* to, int64_t rows, int64_t columns) {
  team().run([=](int part, int parts) {
    int64_t begin, end;
    share(columns, part, parts, &begin, &end);
    for (int64_t column = begin; column < end; column += W) {
      const int64_t across = std::min<int64_t>(W, end - column);
      for (int64_t row = 0; row < rows; row += W) {
        const int64_t down = std::min<int64_t>(W, rows - row);
        float tile[W][W];
        for (int64_t r = 0; r < down; r++) {
          const Half* const at = from + (row + r) * columns + column;
          if (across == W)
            store(tile[r], load(at));
          else
            for (int64_t c = 0; c < across; c++) tile[r][c] = florence2::widen(at[c]);
        }
        for (int64_t c = 0; c < across; c++)
          for (int64_t r = 0; r < down; r++) to[(column + c) * rows + row + r] = tile[r][c];
      }
    }
  });
}

struct Layout {
  int64_t rows = 0, columns = 0;
  bool transposed = false;
};

void* create(TF_OpKernelConstruction* construction) {
  const Status status(TF_NewStatus());
  auto* const layout = new Layout;
  unsigned char transposed = 0;
  TF_OpKernelConstruction_GetAttrInt64(construction, "rows", &layout->rows, status.get());
  TF_OpKernelConstruction_GetAttrInt64(construction, "columns", &layout->columns, status.get());
  TF_OpKernelConstruction_GetAttrBool(construction, "transposed", &transposed, status.get());
  layout->transposed = transposed != 0;
  return layout;
}

void compute(void* kernel, TF_OpKernelContext* context) {
  const auto& [rows, columns, transposed] = *static_cast<Layout*>(kernel);
  const Status status(TF_NewStatus());
  const Tensor pairs = input(context, 0, status.get());
  if (2 * TF_TensorElementCount(pairs.get()) != rows * columns)
    return fail(context, status.get(), "There are not as many halves as rows and columns say.");
  const Tensor result = output(context, {transposed ? columns : rows, transposed ? rows : columns}, status.get());
  if (TF_GetCode(status.get()) != TF_OK) return TF_OpKernelContext_Failure(context, status.get());
  const auto* const from = static_cast<const Half*>(TF_TensorData(pairs.get()));
  float* const to = static_cast<float*>(TF_TensorData(result.get()));
  transposed ? widenTransposed(from, to, rows, columns) : widen(from, to, rows * columns);
}

}  // namespace

void registerWiden(TF_Status* status) {
  define("Florence2WidenHalves", {"pairs: int32"}, {"floats: float"},
         {"rows: int >= 1", "columns: int >= 1", "transposed: bool"}, status);
  registerKernel("Florence2WidenHalves", &create, &compute, &destroy<Layout>, status);
}

}  // namespace florence2
