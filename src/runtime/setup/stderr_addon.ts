/**
 * Source of a small addon that can silence the process's stderr, below Node's own streams. TensorFlow greets there while
 * its library is being loaded, before it has read TF_CPP_MIN_LOG_LEVEL.
 */
export const stderrAddon = `
#include <fcntl.h>
#include <node_api.h>
#include <unistd.h>

static int saved = -1;

static napi_value Mute(napi_env, napi_callback_info) {
  int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (saved < 0 && null >= 0) {
    saved = dup(STDERR_FILENO);
    if (saved >= 0) dup2(null, STDERR_FILENO);
  }
  if (null >= 0) close(null);
  return nullptr;
}

static napi_value Unmute(napi_env, napi_callback_info) {
  if (saved >= 0) {
    dup2(saved, STDERR_FILENO);
    close(saved);
    saved = -1;
  }
  return nullptr;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "mute", NAPI_AUTO_LENGTH, Mute, nullptr, &function);
  napi_set_named_property(env, exports, "mute", function);
  napi_create_function(env, "unmute", NAPI_AUTO_LENGTH, Unmute, nullptr, &function);
  napi_set_named_property(env, exports, "unmute", function);
  return exports;
}
`;
