// Helpers for TensorFlow's C API.

#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <vector>

#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_tensor.h"

namespace florence2 {

struct Deleter {
  void operator()(TF_Tensor* tensor) const { TF_DeleteTensor(tensor); }
  void operator()(TF_Status* status) const { TF_DeleteStatus(status); }
};
using Tensor = std::unique_ptr<TF_Tensor, Deleter>;
using Status = std::unique_ptr<TF_Status, Deleter>;

inline Tensor input(TF_OpKernelContext* context, int i, TF_Status* status) {
  TF_Tensor* tensor = nullptr;
  TF_GetInput(context, i, &tensor, status);
  return Tensor(tensor);
}

inline Tensor output(TF_OpKernelContext* context, const std::vector<int64_t>& shape, TF_Status* status,
                     int number = 0) {
  int64_t size = 1;
  for (const int64_t side : shape) size *= side;
  return Tensor(TF_AllocateOutput(context, number, TF_FLOAT, shape.data(), shape.size(), 4 * size, status));
}

inline std::vector<int64_t> shapeOf(const Tensor& tensor) {
  std::vector<int64_t> shape(TF_NumDims(tensor.get()));
  for (size_t axis = 0; axis < shape.size(); axis++) shape[axis] = TF_Dim(tensor.get(), axis);
  return shape;
}

inline const float* floats(const Tensor& tensor) { return static_cast<const float*>(TF_TensorData(tensor.get())); }
inline float* toFloats(const Tensor& tensor) { return static_cast<float*>(TF_TensorData(tensor.get())); }
inline int64_t side(const Tensor& tensor, int axis) { return TF_Dim(tensor.get(), axis); }

inline void fail(TF_OpKernelContext* context, TF_Status* status, const char* message) {
  TF_SetStatus(status, TF_INVALID_ARGUMENT, message);
  TF_OpKernelContext_Failure(context, status);
}

template <class Kernel>
void destroy(void* kernel) {
  delete static_cast<Kernel*>(kernel);
}

// Creates a kernel whose only state is one float, the attribute `name`.
template <const char* name>
void* createNumber(TF_OpKernelConstruction* construction) {
  const Status status(TF_NewStatus());
  auto* const number = new float(0);
  TF_OpKernelConstruction_GetAttrFloat(construction, name, number, status.get());
  return number;
}

inline void unknownShape(TF_ShapeInferenceContext* context, TF_Status* status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

// `define` and `registerKernel` do nothing if the status is already an error.

inline void define(const char* name, std::vector<const char*> inputs, std::vector<const char*> outputs,
                   std::vector<const char*> attributes, TF_Status* status) {
  if (TF_GetCode(status) != TF_OK) return;
  TF_OpDefinitionBuilder* const builder = TF_NewOpDefinitionBuilder(name);
  for (const char* attribute : attributes) TF_OpDefinitionBuilderAddAttr(builder, attribute);
  for (const char* each : inputs) TF_OpDefinitionBuilderAddInput(builder, each);
  for (const char* each : outputs) TF_OpDefinitionBuilderAddOutput(builder, each);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, &unknownShape);
  TF_RegisterOpDefinition(builder, status);
}

// An exception in `compute`, e.g. because memory is exhausted, fails the operation: it must not reach TensorFlow.
template <void (*compute)(void*, TF_OpKernelContext*)>
void registerKernel(const char* name, void* (*create)(TF_OpKernelConstruction*), void (*destroy)(void*),
                    TF_Status* status) {
  if (TF_GetCode(status) != TF_OK) return;
  const auto guarded = [](void* kernel, TF_OpKernelContext* context) {
    const Status problem(TF_NewStatus());
    try {
      compute(kernel, context);
    } catch (const std::bad_alloc&) {
      fail(context, problem.get(), "Not enough memory.");
    } catch (const std::exception& error) {
      fail(context, problem.get(), error.what());
    }
  };
  TF_RegisterKernelBuilder(name, TF_NewKernelBuilder(name, "CPU", create, guarded, destroy), status);
}

}  // namespace florence2
