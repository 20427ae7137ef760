// The programs of program.cc by number. Programs may be added and removed while others run.

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels.h"

namespace florence2 {
namespace {

std::mutex mutex;
std::map<int64_t, std::shared_ptr<const Program>> programs;

}  // namespace

std::shared_ptr<const Program> findProgram(int64_t number) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = programs.find(number);
  return found == programs.end() ? nullptr : found->second;
}

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

}  // namespace florence2
