// Runs a decode step as one operation: with one row, TensorFlow's overhead takes longer than most of the operations.
//
//   Florence2Program  inputs (fp32, then fp16, then int32), attribute program: its number  ->  results
//
// A program's code is a list of instructions: opcode, numbers of the operands, settings. Values are numbered: first the
// inputs, then the result of each instruction. `values` are the numbers of the results. Written by graph/program.ts.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels.h"
#include "team.h"
#include "tensorflow.h"

namespace florence2 {
namespace {

enum Instruction : int64_t { kMatMul, kAttention, kAdd, kLayerNorm, kReshape, kConcat, kGather, kTranspose };

// An input or an intermediate.
struct Value {
  std::vector<int64_t> shape;
  const void* data = nullptr;
  TF_DataType type = TF_FLOAT;

  const float* floats() const { return static_cast<const float*>(data); }
  int64_t size() const {
    int64_t size = 1;
    for (const int64_t side : shape) size *= side;
    return size;
  }
};

struct Program {
  std::vector<int64_t> code, values;
};

// One run of a program.
class Run {
 public:
  Run(const Program& program, TF_OpKernelContext* context)
      : program_(program), context_(context), status_(TF_NewStatus()) {}

  void go() {
    const int count = TF_NumInputs(context_);
    for (int i = 0; i < count; i++) {
      inputs_.push_back(input(context_, i, status_.get()));
      values_.push_back({shapeOf(inputs_.back()), TF_TensorData(inputs_.back().get()), TF_TensorType(inputs_.back().get())});
    }
    at_ = program_.code.data();
    const int64_t* const end = at_ + program_.code.size();
    while (at_ < end && !failed_) step();
    for (size_t i = 0; i < program_.values.size() && !failed_; i++) giveBack(i, values_[program_.values[i]]);
  }

 private:
  int64_t next() { return *at_++; }
  // Returns the next operand, nullptr for number -1.
  const Value* read() {
    const int64_t number = next();
    return number < 0 ? nullptr : &values_[number];
  }
  float readNumber() {
    const int32_t bits = static_cast<int32_t>(next());
    float number;
    std::memcpy(&number, &bits, sizeof number);
    return number;
  }
  std::vector<int64_t> readList() {
    std::vector<int64_t> list(next());
    for (int64_t& each : list) each = next();
    return list;
  }

  bool require(bool holds, const char* message) {
    if (holds || failed_) return holds;
    failed_ = true;
    fail(context_, status_.get(), message);
    return false;
  }

  // Allocates the result of an instruction: as an output of the operation if it is one, which avoids a copy.
  float* make(std::vector<int64_t> shape) {
    const int64_t number = values_.size();
    Value value{std::move(shape)};
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
    if (to) std::memcpy(to, value.data, 4 * value.size());
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
    const Value &x = *read(), &weight = *read();
    const Value* const bias = read();
    const bool transposed = next(), gelu = next();
    const int64_t K = x.shape.back(), M = x.size() / K, N = weight.shape[transposed ? 0 : 1];
    if (!require(weight.shape[transposed ? 1 : 0] == K, "x and weight do not fit each other.")) return;
    const Weight w{weight.data, weight.type == TF_HALF, transposed};
    const float *const from = x.floats(), *const added = bias ? bias->floats() : nullptr;
    if (float* const y = make({M, N})) fewRowsMatMul(from, w, added, gelu, y, M, K, N);
  }

  // Keys or values in one buffer or two.
  struct Joined {
    std::vector<int64_t> shape;
    Parts parts;
  };

  Joined readParts() {
    const Value& first = *read();
    const Value* const rest = read();
    std::vector<int64_t> shape = first.shape;
    if (!require(shape.size() == 4 && (!rest || rest->shape.size() == 4), "key and value must have four axes.")) return {};
    const Parts parts{first.floats(), rest ? rest->floats() : first.floats(), shape[2]};
    if (rest) shape[2] += rest->shape[2];
    return {shape, parts};
  }

  void attend() {
    const Value query = *read();
    const Joined key = readParts(), value = readParts();
    const Value* const mask = read();
    const float scale = readNumber();
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
    const Value a = *read(), b = *read();
    const int64_t size = a.size(), part = b.size();
    if (!require(part > 0 && size % part == 0, "The terms of a sum do not fit each other.")) return;
    float* const y = make(a.shape);
    if (!y) return;
    for (int64_t from = 0; from < size; from += part)
      for (int64_t i = 0; i < part; i++) y[from + i] = a.floats()[from + i] + b.floats()[i];
  }

  void norm() {
    const Value x = *read(), weight = *read(), bias = *read();
    const float epsilon = readNumber();
    const int64_t C = x.shape.back();
    if (float* const y = make(x.shape)) layerNorm(x.floats(), weight.floats(), bias.floats(), y, x.size() / C, C, epsilon);
  }

  void reshape() {
    Value value = *read();
    std::vector<int64_t> shape = readList();
    int64_t known = 1;
    for (const int64_t side : shape) known *= side < 0 ? 1 : side;
    for (int64_t& side : shape)
      if (side < 0) side = value.size() / known;
    value.shape = std::move(shape);
    values_.push_back(std::move(value));
  }

  void concat() {
    const Value a = *read(), b = *read();
    const int64_t axis = next();
    int64_t outer = 1, inner = 1;
    for (int64_t i = 0; i < axis; i++) outer *= a.shape[i];
    for (size_t i = axis + 1; i < a.shape.size(); i++) inner *= a.shape[i];
    const int64_t first = a.shape[axis] * inner, second = b.shape[axis] * inner;
    std::vector<int64_t> shape = a.shape;
    shape[axis] += b.shape[axis];
    float* const y = make(std::move(shape));
    if (!y) return;
    team().run([&](int part, int parts) {  // by heads, as attention does, so that they stay in this core's cache
      for (int64_t i = part; i < outer; i += parts) {
        float* const to = y + i * (first + second);
        std::memcpy(to, a.floats() + i * first, 4 * first);
        std::memcpy(to + first, b.floats() + i * second, 4 * second);
      }
    });
  }

  void gather() {
    const Value table = *read(), ids = *read();
    const int64_t rows = table.shape[0], D = table.shape[1];
    std::vector<int64_t> shape = ids.shape;
    shape.push_back(D);
    float* const to = make(std::move(shape));
    if (!to) return;
    for (int64_t i = 0; i < ids.size(); i++) {
      const int32_t id = static_cast<const int32_t*>(ids.data)[i];
      if (!require(id >= 0 && id < rows, "An id is beyond the table.")) return;
      std::memcpy(to + i * D, table.floats() + id * D, 4 * D);
    }
  }

  // Transposes a tensor of four axes; the last axis stays last.
  void transpose() {
    const Value x = *read();
    const std::vector<int64_t> axes = readList();
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
          std::memcpy(to, x.floats() + a * stride[axes[0]] + b * stride[axes[1]] + c * stride[axes[2]], 4 * D);
  }

  const Program& program_;
  TF_OpKernelContext* const context_;
  const Status status_;
  const int64_t* at_ = nullptr;
  bool failed_ = false;
  std::vector<Tensor> inputs_, results_;
  std::vector<int64_t> given_;
  std::vector<Value> values_;
  std::vector<std::unique_ptr<float[]>> memory_;
};

// ---- programs by number ----

std::mutex mutex;
std::map<int64_t, std::shared_ptr<const Program>> programs;

std::shared_ptr<const Program> find(int64_t number) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = programs.find(number);
  return found == programs.end() ? nullptr : found->second;
}

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
  const auto program = find(static_cast<Number*>(kernel)->value);
  const Status status(TF_NewStatus());
  if (!program) return fail(context, status.get(), "No program has this number.");
  Run(*program, context).go();
}

}  // namespace

int64_t addProgram(std::vector<int64_t> code, std::vector<int64_t> values) {
  static int64_t last = 0;
  const std::lock_guard<std::mutex> lock(mutex);
  programs[++last] = std::make_shared<const Program>(Program{std::move(code), std::move(values)});
  return last;
}

void removeProgram(int64_t number) {
  const std::lock_guard<std::mutex> lock(mutex);
  programs.erase(number);
}

void registerProgram(TF_Status* status) {
  define("Florence2Program", {"floats: n_floats * float", "halves: n_halves * half", "integers: n_integers * int32"},
         {"results: count * float"},
         {"n_floats: int >= 0", "n_halves: int >= 0", "n_integers: int >= 0", "count: int >= 1", "program: int"}, status);
  registerKernel("Florence2Program", &create, &compute, &destroy<Number>, status);
}

}  // namespace florence2
