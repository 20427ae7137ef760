// The values of a program's run: inputs and intermediates with their shapes.

#pragma once

#include <cstdint>
#include <vector>

#include "tensorflow/c/tf_datatype.h"

namespace florence2 {

// Returns the number of elements, or -1 if a side is negative or the number is beyond all memory.
inline int64_t sizeOf(const std::vector<int64_t>& shape) {
  int64_t size = 1;
  for (const int64_t side : shape)
    if (side < 0 || __builtin_mul_overflow(size, side, &size)) return -1;
  return size > int64_t{1} << 48 ? -1 : size;
}

// An input or an intermediate.
struct Value {
  std::vector<int64_t> shape;
  const void* data = nullptr;
  TF_DataType type = TF_FLOAT;

  const float* floats() const { return static_cast<const float*>(data); }
  int64_t size() const { return sizeOf(shape); }
  int64_t rank() const { return shape.size(); }
};

// Read in place of an operand that is missing.
inline const Value kNothing{{0}};

}  // namespace florence2
