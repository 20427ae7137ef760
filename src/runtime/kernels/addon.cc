// Registers our kernels with TensorFlow when the addon is loaded. Exports to JavaScript:
//
//   addProgram(code: Int32Array, values: Int32Array): number
//   removeProgram(number)

#include <node_api.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kernels.h"
#include "tensorflow.h"

namespace {

std::string registerKernels() {
  const florence2::Status status(TF_NewStatus());
  florence2::registerAttention(status.get());
  florence2::registerFewRows(status.get());
  florence2::registerLowRank(status.get());
  florence2::registerOnePass(status.get());
  florence2::registerProgram(status.get());
  florence2::registerReadWeight(status.get());
  return TF_GetCode(status.get()) == TF_OK ? "" : TF_Message(status.get());
}

std::vector<int64_t> integers(napi_env env, napi_value array) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, array, &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_int32_array) {
    napi_throw_type_error(env, nullptr, "A program consists of Int32Arrays.");
    return {};
  }
  const auto* const from = static_cast<const int32_t*>(data);
  return std::vector<int64_t>(from, from + length);
}

napi_value addProgram(napi_env env, napi_callback_info info) {
  napi_value arguments[2], number;
  size_t count = 2;
  napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr);
  std::vector<int64_t> code = integers(env, arguments[0]), values = integers(env, arguments[1]);
  bool thrown = false;
  if (napi_is_exception_pending(env, &thrown) != napi_ok || thrown) return nullptr;
  napi_create_int64(env, florence2::addProgram(std::move(code), std::move(values)), &number);
  return number;
}

napi_value removeProgram(napi_env env, napi_callback_info info) {
  napi_value argument;
  size_t count = 1;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  int64_t number = 0;
  napi_get_value_int64(env, argument, &number);
  florence2::removeProgram(number);
  return nullptr;
}

}  // namespace

NAPI_MODULE_INIT() {
  static const std::string problem = registerKernels();  // once per process, also if several threads load it
  if (!problem.empty()) napi_throw_error(env, nullptr, problem.c_str());
  napi_value function;
  napi_create_function(env, "addProgram", NAPI_AUTO_LENGTH, &addProgram, nullptr, &function);
  napi_set_named_property(env, exports, "addProgram", function);
  napi_create_function(env, "removeProgram", NAPI_AUTO_LENGTH, &removeProgram, nullptr, &function);
  napi_set_named_property(env, exports, "removeProgram", function);
  return exports;
}
