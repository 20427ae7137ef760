// Runs a decode step as one operation: with one row, TensorFlow's overhead takes longer than most of the operations.
//
//   Florence2Program  inputs (fp32, then fp16, then int32), attribute program: its number  ->  results
//
// A program's code is a list of instructions: opcode, numbers of the operands, settings. Values are numbered: first the
// inputs, then the result of each instruction. `values` are the numbers of the results. Written by graph/program.ts.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "kernels.h"
#include "program_values.h"
#include "team.h"
#include "tensorflow.h"

namespace florence2 {
namespace {

enum Instruction : int64_t { kMatMul, kAttention, kAdd, kLayerNorm, kReshape, kConcat, kGather, kTranspose };

// One run of a program. An instruction that does not fit its operands fails the operation: nothing is read or written
// outside of them.
class Run {
 public:
  Run(const Program& program, TF_OpKernelContext* context)
      : program_(program), context_(context), status_(TF_NewStatus()) {}

  void go() {
    const int count = TF_NumInputs(context_), results = program_.values.size();
    if (!require(results == TF_NumOutputs(context_), "The program has another number of results.")) return;
    values_.reserve(count + program_.code.size());  // so that references to values stay valid
    for (int i = 0; i < count; i++) {
      inputs_.push_back(input(context_, i, status_.get()));
      values_.push_back({shapeOf(inputs_.back()), TF_TensorData(inputs_.back().get()), TF_TensorType(inputs_.back().get())});
    }
    at_ = program_.code.data();
    end_ = at_ + program_.code.size();
    while (at_ < end_ && !failed_) step();
    for (int i = 0; i < results && !failed_; i++) giveBack(i, valueOf(program_.values[i], TF_FLOAT));
  }

 private:
  // The functions that read code return 0 or `kNothing` after a failure: check `failed_` before using what they return.
  int64_t next() { return require(at_ < end_, "The program ends within an instruction.") ? *at_++ : 0; }
  const Value& valueOf(int64_t number, TF_DataType type) {
    if (!require(number >= 0 && number < static_cast<int64_t>(values_.size()), "The program reads an unknown value."))
      return kNothing;
    const Value& value = values_[number];
    return require(value.type == type, "A value of the program has another type.") ? value : kNothing;
  }
  const Value& read(TF_DataType type = TF_FLOAT) { return valueOf(next(), type); }
  // Returns nullptr for number -1.
  const Value* readOptional() {
    const int64_t number = next();
    return number == -1 ? nullptr : &valueOf(number, TF_FLOAT);
  }
  float readNumber() {
    const int32_t bits = static_cast<int32_t>(next());
    float number;
    std::memcpy(&number, &bits, sizeof number);
    return number;
  }
  std::vector<int64_t> readList() {
    const int64_t count = next();
    if (!require(count >= 0 && count <= end_ - at_, "A list is longer than the program.")) return {};
    std::vector<int64_t> list(count);
    for (int64_t& each : list) each = next();
    return list;
  }

  bool require(bool holds, const char* message) {
    if (!holds && !failed_) fail(context_, status_.get(), message);
    failed_ |= !holds;
    return holds && !failed_;
  }

  // Allocates the result of an instruction: as an output of the operation if it is one, which avoids a copy. Returns
  // nullptr after a failure.
  float* make(std::vector<int64_t> shape) {
    const int64_t number = values_.size();
    Value value{std::move(shape)};
    if (!require(value.size() >= 0, "Not enough memory for a result.")) return nullptr;
    const auto place = std::find(program_.values.begin(), program_.values.end(), number);
    float* data;
    if (place == program_.values.end()) {
      memory_.emplace_back(new float[value.size()]);
      data = memory_.back().get();
    } else {
      data = allocate(place - program_.values.begin(), value);
    }
    value.data = data;
    values_.push_back(std::move(value));
    return data;
  }

  float* allocate(int64_t result, const Value& value) {
    TF_Tensor* const tensor = TF_AllocateOutput(context_, result, TF_FLOAT, value.shape.data(), value.shape.size(),
                                                4 * value.size(), status_.get());
    if (!require(tensor != nullptr, "Not enough memory for a result.")) return nullptr;
    results_.emplace_back(tensor);
    given_.push_back(result);
    return static_cast<float*>(TF_TensorData(tensor));
  }

  // Copies a result that was not allocated as an output: an input or a reshaped value.
  void giveBack(int64_t result, const Value& value) {
    if (std::find(given_.begin(), given_.end(), result) != given_.end()) return;
    float* const to = allocate(result, value);
    if (to) std::copy_n(value.floats(), value.size(), to);
  }

  void step() {
    switch (next()) {
      case kMatMul: return matMul();
      case kAttention: return attend();
      case kAdd: return add();
      case kLayerNorm: return norm();
      case kReshape: return reshape();
      case kConcat: return concat();
      case kGather: return gather();
      case kTranspose: return transpose();
      default: require(false, "The program has an unknown instruction.");
    }
  }

  void matMul() {
    const Value& x = read();
    const int64_t number = next();
    const bool half = number >= 0 && number < static_cast<int64_t>(values_.size()) && values_[number].type == TF_HALF;
    const Value& weight = valueOf(number, half ? TF_HALF : TF_FLOAT);
    const Value* const bias = readOptional();
    const bool transposed = next(), gelu = next();
    if (!require(x.rank() > 0 && weight.rank() == 2, "x must have an axis, weight two.")) return;
    const int64_t K = x.shape.back(), N = weight.shape[transposed ? 0 : 1];
    const bool fits = K > 0 && weight.shape[transposed ? 1 : 0] == K && (!bias || bias->size() == N);
    if (!require(fits, "x, weight and bias do not fit each other.")) return;
    const int64_t M = x.size() / K;
    const Weight w{weight.data, half, transposed};
    if (float* const y = make({M, N})) fewRowsMatMul(x.floats(), w, bias ? bias->floats() : nullptr, gelu, y, M, K, N);
  }

  // Keys or values in one buffer or two.
  struct Joined {
    std::vector<int64_t> shape;
    Parts parts;
  };

  Joined readParts() {
    const Value& first = read();
    const Value* const rest = readOptional();
    std::vector<int64_t> shape = first.shape;
    if (!require(shape.size() == 4 && (!rest || rest->rank() == 4), "key and value must have four axes.")) return {};
    const Parts parts{first.floats(), rest ? rest->floats() : first.floats(), shape[2]};
    if (rest) {
      shape[2] = rest->shape[2];
      if (!require(shape == rest->shape, "The parts of key or value do not fit each other.")) return {};
      shape[2] += parts.begun;
    }
    return {shape, parts};
  }

  void attend() {
    const Value& query = read();
    const Joined key = readParts(), value = readParts();
    const Value* const mask = readOptional();
    const float scale = readNumber();
    if (failed_) return;
    const std::vector<int64_t> none = {0}, &masked = mask ? mask->shape : none;
    const char* const misfit = attentionMisfit(query.shape, key.shape, value.shape, masked);
    if (!require(!misfit, misfit)) return;
    const auto& shape = query.shape;
    const Heads size{shape[0], shape[1], shape[2], key.shape[2], shape[3]};
    const Mask hidden = maskOfShape(mask ? mask->floats() : nullptr, masked);
    if (float* const z = make(shape)) fewQueries(query.floats(), key.parts, value.parts, hidden, scale, z, size);
  }

  // b is broadcast over the leading axes of a.
  void add() {
    const Value &a = read(), &b = read();
    const int64_t size = a.size(), part = b.size();
    if (!require(part > 0 && size % part == 0, "The terms of a sum do not fit each other.")) return;
    float* const y = make(a.shape);
    if (!y) return;
    for (int64_t from = 0; from < size; from += part)
      for (int64_t i = 0; i < part; i++) y[from + i] = a.floats()[from + i] + b.floats()[i];
  }

  void norm() {
    const Value &x = read(), &weight = read(), &bias = read();
    const float epsilon = readNumber();
    const int64_t C = x.rank() > 0 ? x.shape.back() : 0;
    if (!require(C > 0 && weight.size() == C && bias.size() == C, "weight and bias do not fit x.")) return;
    if (float* const y = make(x.shape)) layerNorm(x.floats(), weight.floats(), bias.floats(), y, x.size() / C, C, epsilon);
  }

  void reshape() {
    const Value& value = read();
    std::vector<int64_t> shape = readList();
    int64_t* const open = std::find(shape.data(), shape.data() + shape.size(), -1);
    if (open != shape.data() + shape.size()) {
      *open = 1;
      const int64_t known = sizeOf(shape);
      *open = known > 0 ? value.size() / known : 0;
    }
    if (!require(sizeOf(shape) == value.size(), "A value does not fit its new shape.")) return;
    values_.push_back({std::move(shape), value.data});
  }

  void concat() {
    const Value &a = read(), &b = read();
    const int64_t axis = next();
    if (!require(axis >= 0 && axis < a.rank() && a.rank() == b.rank(), "There is no such axis to join along.")) return;
    std::vector<int64_t> shape = a.shape;
    shape[axis] = b.shape[axis];
    if (!require(shape == b.shape, "The parts do not fit each other.")) return;
    shape[axis] += a.shape[axis];
    int64_t outer = 1, inner = 1;
    for (int64_t i = 0; i < axis; i++) outer *= shape[i];
    for (int64_t i = axis + 1; i < a.rank(); i++) inner *= shape[i];
    const int64_t first = a.shape[axis] * inner, second = b.shape[axis] * inner;
    float* const y = make(std::move(shape));
    if (!y || first + second == 0) return;
    team().run([&](int part, int parts) {  // by heads, as attention does, so that they stay in this core's cache
      for (int64_t i = part; i < outer; i += parts) {
        float* const to = y + i * (first + second);
        std::copy_n(a.floats() + i * first, first, to);
        std::copy_n(b.floats() + i * second, second, to + first);
      }
    });
  }

  void gather() {
    const Value &table = read(), &ids = read(TF_INT32);
    if (!require(table.rank() == 2, "A table must have two axes.")) return;
    const int64_t rows = table.shape[0], D = table.shape[1];
    std::vector<int64_t> shape = ids.shape;
    shape.push_back(D);
    float* const to = make(std::move(shape));
    if (!to) return;
    for (int64_t i = 0; i < ids.size(); i++) {
      const int32_t id = static_cast<const int32_t*>(ids.data)[i];
      if (!require(id >= 0 && id < rows, "An id is beyond the table.")) return;
      std::copy_n(table.floats() + id * D, D, to + i * D);
    }
  }

  // Transposes a tensor of four axes; the last axis stays last.
  void transpose() {
    const Value& x = read();
    const std::vector<int64_t> axes = readList();
    const std::vector<int64_t> all = {0, 1, 2, 3};
    const bool fits = x.rank() == 4 && std::is_permutation(axes.begin(), axes.end(), all.begin(), all.end()) && axes[3] == 3;
    if (!require(fits, "These axes cannot be transposed.")) return;
    int64_t stride[4] = {}, along = 1;
    for (int axis = 3; axis >= 0; axis--) {
      stride[axis] = along;
      along *= x.shape[axis];
    }
    const int64_t A = x.shape[axes[0]], B = x.shape[axes[1]], C = x.shape[axes[2]], D = x.shape[3];
    float* to = make({A, B, C, D});
    if (!to) return;
    for (int64_t a = 0; a < A; a++)
      for (int64_t b = 0; b < B; b++)
        for (int64_t c = 0; c < C; c++, to += D)
          std::copy_n(x.floats() + a * stride[axes[0]] + b * stride[axes[1]] + c * stride[axes[2]], D, to);
  }

  const Program& program_;
  TF_OpKernelContext* const context_;
  const Status status_;
  const int64_t *at_ = nullptr, *end_ = nullptr;
  bool failed_ = false;
  std::vector<Tensor> inputs_, results_;
  std::vector<int64_t> given_;
  std::vector<Value> values_;
  std::vector<std::unique_ptr<float[]>> memory_;
};

// ---- TensorFlow ----

struct Number {
  int64_t value = 0;
};

void* create(TF_OpKernelConstruction* construction) {
  const Status status(TF_NewStatus());
  auto* const number = new Number;
  TF_OpKernelConstruction_GetAttrInt64(construction, "program", &number->value, status.get());
  return number;
}

void compute(void* kernel, TF_OpKernelContext* context) {
  const auto program = findProgram(static_cast<Number*>(kernel)->value);
  const Status status(TF_NewStatus());
  if (!program) return fail(context, status.get(), "No program has this number.");
  Run(*program, context).go();
}

}  // namespace

void registerProgram(TF_Status* status) {
  define("Florence2Program", {"floats: n_floats * float", "halves: n_halves * half", "integers: n_integers * int32"},
         {"results: count * float"},
         {"n_floats: int >= 0", "n_halves: int >= 0", "n_integers: int >= 0", "count: int >= 1", "program: int"}, status);
  registerKernel<&compute>("Florence2Program", &create, &destroy<Number>, status);
}

}  // namespace florence2
