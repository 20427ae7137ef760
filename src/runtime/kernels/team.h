// A thread pool shared by all kernels of the process.

#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "vectors.h"

namespace florence2 {

// Threads that work on one job together. After a job they spin for a short time before they sleep, because in a decode
// step the next job follows soon.
class Team {
 public:
  // If the system does not start so many threads, the team has fewer.
  explicit Team(int size) {
    try {
      for (; size_ < size; size_++) std::thread([this, part = size_] { help(part); }).detach();
    } catch (const std::system_error&) {
    }
  }

  int size() const { return size_; }

  // Calls work(part, parts) for every part and returns when all are done. Concurrent calls run one after the other. If
  // parts throw, e.g. because memory is exhausted, throws the exception of one of them.
  void run(const std::function<void(int, int)>& work) {
    const std::lock_guard<std::mutex> turn(turn_);
    work_ = &work;
    running_.store(size_ - 1, std::memory_order_relaxed);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      round_.fetch_add(1, std::memory_order_release);
    }
    if (asleep_.load()) wake_.notify_all();
    attempt(0);
    while (running_.load(std::memory_order_acquire) > 0) pause();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  void attempt(int part) {
    try {
      (*work_)(part, size_);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex_);
      error_ = std::current_exception();
    }
  }

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  void help(int part) {
    uint64_t seen = 0;
    for (;;) {
      for (int spins = 0; round_.load(std::memory_order_acquire) == seen && spins < 5000; spins++) pause();
      if (round_.load(std::memory_order_acquire) == seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        asleep_++;
        wake_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != seen; });
        asleep_--;
      }
      seen++;
      attempt(part);
      running_.fetch_sub(1, std::memory_order_release);
    }
  }

  int size_ = 1;
  std::exception_ptr error_;
  std::mutex turn_, mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> round_{0};
  std::atomic<int> running_{0}, asleep_{0};
  const std::function<void(int, int)>* work_ = nullptr;
};

inline Team& team() {
  static Team* const one = [] {
    const char* wanted = std::getenv("TF_NUM_INTRAOP_THREADS");
    const int named = wanted ? std::atoi(wanted) : 0;
    return new Team(std::max(1, named > 0 ? named : static_cast<int>(std::thread::hardware_concurrency())));
  }();
  return *one;
}

// Sets the range [from, to) of `size` items that belong to a part. Ranges start at multiples of W.
inline void share(int64_t size, int part, int parts, int64_t* from, int64_t* to) {
  const int64_t each = ((size + parts - 1) / parts + W - 1) / W * W;
  *from = std::min(size, part * each);
  *to = std::min(size, *from + each);
}

}  // namespace florence2
