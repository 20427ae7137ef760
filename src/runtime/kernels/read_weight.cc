// Reads a weight from a file into the layout that the model has in memory: reads, converts to fp32 and transposes in
// chunks, in one pass.
//
//   Florence2ReadWeight  place: two integers, the position in the file is first · 2^31 + second
//                        attributes: file; halves: the values are fp16, not fp32; rows, columns, transposed
//                        ->  fp32 [rows, columns], or [columns, rows] if transposed

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "kernels.h"
#include "team.h"
#include "tensorflow.h"
#include "vectors.h"

namespace florence2 {
namespace {

struct Layout {
  std::string file;
  int64_t rows = 0, columns = 0;
  bool halves = false, transposed = false;
};

class File {
 public:
  explicit File(const std::string& path) : descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  File(const File&) = delete;

  // Reads `size` bytes from `position`. Returns false if the file ends before that.
  bool read(void* to, int64_t size, int64_t position) const {
    for (int64_t done = 0; done < size;) {
      const int64_t count = pread(descriptor_, static_cast<char*>(to) + done, size - done, position + done);
      if (count <= 0) return false;
      done += count;
    }
    return true;
  }

 private:
  const int descriptor_;
};

// Converts `size` contiguous values to fp32.
template <class T>
void place(const T* from, float* to, int64_t size) {
  int64_t i = 0;
  for (; i + W <= size; i += W) store(to + i, load(from + i));
  for (; i < size; i++) to[i] = widen(from[i]);
}

// Writes rows [row, row + count) of a weight [rows, columns] into its transpose, tile by tile. A tile fits into the
// vector registers.
template <class T>
void placeTransposed(const T* from, float* to, int64_t row, int64_t count, int64_t rows, int64_t columns) {
  for (int64_t column = 0; column < columns; column += W) {
    const int64_t across = std::min<int64_t>(W, columns - column);
    for (int64_t begin = 0; begin < count; begin += W) {
      const int64_t down = std::min<int64_t>(W, count - begin);
      float tile[W][W];
      for (int64_t r = 0; r < down; r++) place(from + (begin + r) * columns + column, tile[r], across);
      for (int64_t c = 0; c < across; c++)
        for (int64_t r = 0; r < down; r++) to[(column + c) * rows + row + begin + r] = tile[r][c];
    }
  }
}

// Maps the pages of new memory in advance, which is faster than a page fault for each.
void populate(float* memory, int64_t size) {
#ifdef MADV_POPULATE_WRITE
  const uintptr_t page = sysconf(_SC_PAGESIZE), begin = reinterpret_cast<uintptr_t>(memory);
  team().run([=](int part, int parts) {
    const uintptr_t from = (begin + 4 * size * part / parts + page - 1) / page * page;
    const uintptr_t to = (begin + 4 * size * (part + 1) / parts) / page * page;
    if (from < to) madvise(reinterpret_cast<void*>(from), to - from, MADV_POPULATE_WRITE);
  });
#endif
}

// Returns false if the file is too short. The rows are distributed over the threads, in chunks that fit into the
// second-level cache.
template <class T>
bool readWeight(const File& file, int64_t position, const Layout& layout, float* to) {
  const auto& [path, rows, columns, halves, transposed] = layout;
  constexpr int64_t kPiece = 1 << 17;
  std::atomic<bool> complete{true};
  const auto work = [&, rows = rows, columns = columns, transposed = transposed](int part, int parts) {
    const int64_t total = transposed ? rows : rows * columns, width = transposed ? columns : 1;
    const int64_t step = std::max<int64_t>(W, kPiece / width / W * W);
    int64_t begin, end;
    share(total, part, parts, &begin, &end);
    std::vector<T> piece(std::max<int64_t>(0, std::min(step, end - begin)) * width);
    for (int64_t at = begin; at < end && complete; at += step) {
      const int64_t count = std::min(step, end - at);
      if (!file.read(piece.data(), count * width * sizeof(T), position + at * width * sizeof(T))) {
        complete = false;
      } else if (transposed) {
        placeTransposed(piece.data(), to, at, count, rows, columns);
      } else {
        place(piece.data(), to + at, count);
      }
    }
  };
  if (rows * columns < kPiece) {
    work(0, 1);  // waking the other threads would take longer
  } else {
    populate(to, rows * columns);
    team().run(work);
  }
  return complete;
}

void* create(TF_OpKernelConstruction* construction) {
  const Status status(TF_NewStatus());
  auto* const layout = new Layout;
  int32_t attributes = 0, length = 0;
  TF_OpKernelConstruction_GetAttrSize(construction, "file", &attributes, &length, status.get());
  layout->file.resize(std::max(0, length));
  TF_OpKernelConstruction_GetAttrString(construction, "file", layout->file.data(), layout->file.size(), status.get());
  TF_OpKernelConstruction_GetAttrInt64(construction, "rows", &layout->rows, status.get());
  TF_OpKernelConstruction_GetAttrInt64(construction, "columns", &layout->columns, status.get());
  unsigned char halves = 0, transposed = 0;
  TF_OpKernelConstruction_GetAttrBool(construction, "halves", &halves, status.get());
  TF_OpKernelConstruction_GetAttrBool(construction, "transposed", &transposed, status.get());
  layout->halves = halves != 0;
  layout->transposed = transposed != 0;
  return layout;
}

void compute(void* kernel, TF_OpKernelContext* context) {
  const Layout& layout = *static_cast<Layout*>(kernel);
  const auto& [path, rows, columns, halves, transposed] = layout;
  const Status status(TF_NewStatus());
  const Tensor place = input(context, 0, status.get());
  if (TF_TensorElementCount(place.get()) != 2) return fail(context, status.get(), "A place has two numbers.");
  const auto* const parts = static_cast<const int32_t*>(TF_TensorData(place.get()));
  const int64_t position = parts[0] * (int64_t{1} << 31) + parts[1];
  const Tensor result = output(context, {transposed ? columns : rows, transposed ? rows : columns}, status.get());
  if (TF_GetCode(status.get()) != TF_OK) return TF_OpKernelContext_Failure(context, status.get());
  const File file(path);
  float* const to = toFloats(result);
  const bool complete =
      halves ? readWeight<Half>(file, position, layout, to) : readWeight<float>(file, position, layout, to);
  if (!complete) fail(context, status.get(), (path + " cannot be read, or is shorter than expected.").c_str());
}

}  // namespace

void registerReadWeight(TF_Status* status) {
  define("Florence2ReadWeight", {"place: int32"}, {"weight: float"},
         {"file: string", "halves: bool", "rows: int >= 1", "columns: int >= 1", "transposed: bool"}, status);
  registerKernel<&compute>("Florence2ReadWeight", &create, &destroy<Layout>, status);
}

}  // namespace florence2
