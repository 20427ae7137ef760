// A stand-in for the part of TensorFlow's C API that the kernels use: it registers kernels by name and calls them with
// tensors whose memory is exactly as long as their values, so that sanitizers notice each access outside.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

enum TF_DataType { TF_FLOAT = 1, TF_INT32 = 3, TF_HALF = 19 };
enum TF_Code { TF_OK = 0, TF_INVALID_ARGUMENT = 3, TF_RESOURCE_EXHAUSTED = 8 };

struct TF_Status {
  TF_Code code = TF_OK;
  std::string message;
};
inline TF_Status* TF_NewStatus() { return new TF_Status; }
inline void TF_DeleteStatus(TF_Status* status) { delete status; }
inline TF_Code TF_GetCode(const TF_Status* status) { return status->code; }
inline const char* TF_Message(const TF_Status* status) { return status->message.c_str(); }
inline void TF_SetStatus(TF_Status* status, TF_Code code, const char* message) { *status = {code, message}; }

// ---- tensors ----

struct TF_Tensor {
  TF_DataType type = TF_FLOAT;
  std::vector<int64_t> shape;
  std::shared_ptr<void> data;

  int64_t size() const {
    int64_t size = 1;
    for (const int64_t side : shape) size *= side;
    return size;
  }
  size_t bytes() const { return size() * (type == TF_HALF ? 2 : 4); }
  void allocate() { data.reset(std::malloc(bytes()), std::free); }
};
inline void TF_DeleteTensor(TF_Tensor* tensor) { delete tensor; }
inline TF_DataType TF_TensorType(const TF_Tensor* tensor) { return tensor->type; }
inline int TF_NumDims(const TF_Tensor* tensor) { return tensor->shape.size(); }
inline int64_t TF_Dim(const TF_Tensor* tensor, int axis) { return tensor->shape.at(axis); }
inline void* TF_TensorData(const TF_Tensor* tensor) { return tensor->data.get(); }
inline int64_t TF_TensorElementCount(const TF_Tensor* tensor) { return tensor->size(); }

// ---- attributes, when a kernel is created ----

struct TF_OpKernelConstruction {
  std::map<std::string, double> numbers;
  std::map<std::string, std::string> texts;
};
inline void TF_OpKernelConstruction_GetAttrInt64(TF_OpKernelConstruction* from, const char* name, int64_t* to, TF_Status*) {
  *to = from->numbers.at(name);
}
inline void TF_OpKernelConstruction_GetAttrFloat(TF_OpKernelConstruction* from, const char* name, float* to, TF_Status*) {
  *to = from->numbers.at(name);
}
inline void TF_OpKernelConstruction_GetAttrBool(TF_OpKernelConstruction* from, const char* name, unsigned char* to,
                                                TF_Status*) {
  *to = from->numbers.at(name) != 0;
}
inline void TF_OpKernelConstruction_GetAttrSize(TF_OpKernelConstruction* from, const char* name, int32_t* list,
                                                int32_t* total, TF_Status*) {
  *list = -1;
  *total = from->texts.at(name).size();
}
inline void TF_OpKernelConstruction_GetAttrString(TF_OpKernelConstruction* from, const char* name, char* to, size_t length,
                                                  TF_Status*) {
  from->texts.at(name).copy(to, length);
}

// ---- inputs, outputs and errors of a call ----

struct TF_OpKernelContext {
  std::vector<TF_Tensor> inputs, outputs;
  std::string error;
};
inline int TF_NumInputs(TF_OpKernelContext* context) { return context->inputs.size(); }
inline int TF_NumOutputs(TF_OpKernelContext* context) { return context->outputs.size(); }
inline void TF_GetInput(TF_OpKernelContext* context, int i, TF_Tensor** tensor, TF_Status*) {
  *tensor = new TF_Tensor(context->inputs.at(i));
}
inline TF_Tensor* TF_AllocateOutput(TF_OpKernelContext* context, int i, TF_DataType type, const int64_t* shape, int axes,
                                    size_t bytes, TF_Status* status) {
  TF_Tensor tensor{type, std::vector<int64_t>(shape, shape + axes), nullptr};
  if (bytes != tensor.bytes()) std::abort();
  if (bytes > 1 << 28) {
    *status = {TF_RESOURCE_EXHAUSTED, "out of memory"};
    return nullptr;
  }
  tensor.allocate();
  context->outputs.at(i) = tensor;
  return new TF_Tensor(tensor);
}
inline void TF_OpKernelContext_Failure(TF_OpKernelContext* context, TF_Status* status) { context->error = status->message; }

// ---- registration ----

struct TF_KernelBuilder {
  void* (*create)(TF_OpKernelConstruction*);
  void (*compute)(void*, TF_OpKernelContext*);
  void (*destroy)(void*);
};
inline std::map<std::string, TF_KernelBuilder>& registeredKernels() {
  static std::map<std::string, TF_KernelBuilder> kernels;
  return kernels;
}
inline TF_KernelBuilder* TF_NewKernelBuilder(const char*, const char*, void* (*create)(TF_OpKernelConstruction*),
                                             void (*compute)(void*, TF_OpKernelContext*), void (*destroy)(void*)) {
  return new TF_KernelBuilder{create, compute, destroy};
}
inline void TF_RegisterKernelBuilder(const char* name, TF_KernelBuilder* builder, TF_Status*) {
  registeredKernels()[name] = *builder;
  delete builder;
}

struct TF_OpDefinitionBuilder {};
struct TF_ShapeInferenceContext {};
inline TF_OpDefinitionBuilder* TF_NewOpDefinitionBuilder(const char*) { return new TF_OpDefinitionBuilder; }
inline void TF_OpDefinitionBuilderAddAttr(TF_OpDefinitionBuilder*, const char*) {}
inline void TF_OpDefinitionBuilderAddInput(TF_OpDefinitionBuilder*, const char*) {}
inline void TF_OpDefinitionBuilderAddOutput(TF_OpDefinitionBuilder*, const char*) {}
inline void TF_OpDefinitionBuilderSetShapeInferenceFunction(TF_OpDefinitionBuilder*,
                                                            void (*)(TF_ShapeInferenceContext*, TF_Status*)) {}
inline void TF_ShapeInferenceContextSetUnknownShape(TF_ShapeInferenceContext*, TF_Status*) {}
inline void TF_RegisterOpDefinition(TF_OpDefinitionBuilder* builder, TF_Status*) { delete builder; }
