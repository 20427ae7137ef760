// Registers our kernels with TensorFlow when it is loaded.

#include <node_api.h>

#include <string>

#include "kernels.h"
#include "tensorflow.h"

namespace {

std::string registerKernels() {
  const florence2::Status status(TF_NewStatus());
  florence2::registerFewRows(status.get());
  florence2::registerOnePass(status.get());
  return TF_GetCode(status.get()) == TF_OK ? "" : TF_Message(status.get());
}

}  // namespace

NAPI_MODULE_INIT() {
  static const std::string problem = registerKernels();  // once in a process, whichever thread loads it
  if (!problem.empty()) napi_throw_error(env, nullptr, problem.c_str());
  return exports;
}
