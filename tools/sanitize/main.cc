// Calls all kernels with random sizes, some of which do not fit each other, and runs programs with random changes, from
// several threads. Prints how many calls returned a result and how many an error; the sanitizer ends the process at the
// first access that is wrong. See tools/sanitize.ts.
//
//   main SECONDS SEED FILE
//
// With 0 seconds, only the threads are started and used once.

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kernels.h"
#include "team.h"
#include "tensorflow.h"

// ---- memory that is exhausted at times ----

// Number of allocations of this thread until one fails. Negative: none fails.
thread_local int allocationsLeft = -1;

void* operator new(size_t size) {
  if (allocationsLeft >= 0 && allocationsLeft-- == 0) throw std::bad_alloc();
  if (void* const memory = std::malloc(size > 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace {

std::atomic<int64_t> results{0}, errors{0};

class Caller {
 public:
  Caller(int seed, std::string file) : random_(seed), file_(std::move(file)) {}

  void callSomething() {
    switch (below(10)) {
      case 0: return matMul();
      case 1: return attention(false);
      case 2: return attention(true);
      case 3: return onePass();
      case 4: return topOfRows();
      case 5: return lowRank();
      case 6: return readWeight();
      default: return program();
    }
  }

 private:
  int64_t below(int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(random_); }
  bool rarely() { return below(20) == 0; }
  int64_t side() { return rarely() ? 0 : 1 + below(below(4) == 0 ? 90 : 12); }

  // A tensor of random values. Rarely it has another size than asked for.
  TF_Tensor tensor(std::vector<int64_t> shape, TF_DataType type = TF_FLOAT) {
    if (below(60) == 0 && !shape.empty()) shape[below(shape.size())] = below(9);
    if (below(120) == 0) shape.push_back(1);
    TF_Tensor made{type, std::move(shape), nullptr};
    made.allocate();
    for (int64_t i = 0; i < made.size(); i++) {
      if (type == TF_FLOAT) {
        const float value = below(200) == 0 ? NAN : std::normal_distribution<float>(0, below(50) == 0 ? 1e20f : 2)(random_);
        static_cast<float*>(made.data.get())[i] = value;
      } else if (type == TF_INT32) {
        static_cast<int32_t*>(made.data.get())[i] = below(5);
      } else {
        static_cast<uint16_t*>(made.data.get())[i] = below(1 << 16);
      }
    }
    return made;
  }

  void call(const char* name, TF_OpKernelConstruction attributes, std::vector<TF_Tensor> inputs, int outputs = 1) {
    const TF_KernelBuilder& kernel = registeredKernels().at(name);
    void* const state = kernel.create(&attributes);
    TF_OpKernelContext context{std::move(inputs), std::vector<TF_Tensor>(outputs), ""};
    if (below(8) == 0) allocationsLeft = below(40);
    try {
      kernel.compute(state, &context);
    } catch (const std::bad_alloc&) {  // the stand-in's own allocation for a message failed
      context.error = "memory";
    }
    allocationsLeft = -1;
    kernel.destroy(state);
    (context.error.empty() ? results : errors)++;
  }

  void matMul() {
    const int64_t M = side(), K = side(), N = side(), transposed = below(2);
    const TF_DataType type = below(2) ? TF_HALF : TF_FLOAT;
    const TF_Tensor weight = tensor(transposed ? std::vector<int64_t>{N, K} : std::vector<int64_t>{K, N}, type);
    const double gelu = below(2);
    call("Florence2FewRowsMatMul", {{{"transposed", static_cast<double>(transposed)}, {"gelu", gelu}}, {}},
         {tensor({M, K}), weight, tensor({below(2) ? N : 0})});
  }

  void attention(bool gradient) {
    const int64_t B = side() % 4, H = side() % 5, T = side(), S = side(), d = side();
    const TF_Tensor mask = below(2) ? tensor({0}) : tensor({below(2) ? B : 1, 1, below(2) ? T : 1, S});
    std::vector<TF_Tensor> inputs = {tensor({B, H, T, d}), tensor({B, H, S, d}), tensor({B, H, S, d}), mask};
    if (gradient) inputs.push_back(tensor({B, H, T, d}));
    const char* const name = gradient ? "Florence2AttentionGrad" : "Florence2Attention";
    call(name, {{{"scale", 0.5}}, {}}, std::move(inputs), gradient ? 3 : 1);
  }

  void onePass() {
    const int64_t rows = side(), C = side();
    const TF_Tensor x = tensor({rows, C}), dy = tensor({rows, C}), weight = tensor({C}), bias = tensor({C});
    const TF_OpKernelConstruction norm{{{"epsilon", 1e-5}}, {}};
    switch (below(5)) {
      case 0: return call("Florence2Gelu", {}, {x});
      case 1: return call("Florence2GeluGrad", {}, {x, dy});
      case 2: return call("Florence2SoftmaxGrad", {}, {x, dy});
      case 3: return call("Florence2LayerNorm", norm, {x, weight, bias});
      default: return call("Florence2LayerNormGrad", norm, {x, weight, dy});
    }
  }

  void topOfRows() {
    std::map<std::string, double> attributes = {{"k", 1.0 + below(9)}};
    for (const char* name : {"first", "count", "radius"}) attributes[name] = below(40);
    call("Florence2TopOfRows", {attributes, {}}, {tensor({side(), side()})});
  }

  void lowRank() {
    const int64_t N = side(), in = side(), out = side(), r = side() % 9;
    const TF_OpKernelConstruction scale{{{"scale", 2}}, {}};
    const TF_Tensor x = tensor({N, in}), y = tensor({N, out}), a = tensor({in, r}), b = tensor({r, out});
    if (below(2)) call("Florence2LowRank", scale, {y, x, a, b});
    else call("Florence2LowRankGrad", scale, {x, a, b, y}, 3);
  }

  // The file has 4 kB.
  void readWeight() {
    const double rows = 1 + side(), columns = 1 + side(), halves = below(2), transposed = below(2);
    TF_Tensor place = tensor({2}, TF_INT32);
    if (place.size() == 2) {
      static_cast<int32_t*>(place.data.get())[0] = rarely() ? -1 : 0;
      static_cast<int32_t*>(place.data.get())[1] = below(3000);
    }
    call("Florence2ReadWeight",
         {{{"rows", rows}, {"columns", columns}, {"halves", halves}, {"transposed", transposed}},
          {{"file", rarely() ? file_ + "-missing" : file_}}},
         {place});
  }

  // A small decode step that contains all instructions, with up to three changes of its code.
  void program() {
    const int64_t B = 1 + below(3), H = 2, d = 4, S = 1 + below(5), D = H * d, V = 6;
    const std::vector<TF_Tensor> inputs = {
        tensor({V, D}),        tensor({D}),    tensor({D}),               // 0 table, 1 weight and 2 bias of the norm
        tensor({B, H, S, d}),  tensor({D, D}), tensor({B, 1, 1, S + 1}),  // 3 past keys, 4 weight, 5 mask
        tensor({D, D}, TF_HALF), tensor({B, 1}, TF_INT32),                // 6 weight, 7 ids
    };
    const int64_t scale = 1056964608, epsilon = 925353388;  // 0.5 and 1e-5
    std::vector<int64_t> code = {
        6, 0, 7,                        // 8 = rows of the table [B, 1, D]
        3, 8, 1, 2, epsilon,            // 9 = norm
        0, 9, 4, 2, 0, 0,               // 10 = 9 · weight + bias [B, D]
        4, 10, 4, B, -1, H, d,          // 11 [B, 1, H, d]
        7, 11, 4, 0, 2, 1, 3,           // 12 [B, H, 1, d]
        5, 3, 12, 2,                    // 13 = keys [B, H, S + 1, d]
        1, 12, 3, 12, 13, -1, 5, scale, // 14 = attention [B, H, 1, d]
        7, 14, 4, 0, 2, 1, 3,           // 15
        4, 15, 3, B, 1, D,              // 16 [B, 1, D]
        2, 8, 16,                       // 17 = sum
        0, 17, 6, -1, 1, 1,             // 18 = gelu(17 · weightᵀ) [B, D]
    };
    std::vector<int64_t> values = {18, 13};
    for (int64_t changes = below(4); changes > 0; changes--) {
      static const int64_t strange[] = {-2147483648LL, 2147483647, 65536, -1, -2};
      int64_t& changed = rarely() ? values[below(values.size())] : code[below(code.size())];
      changed = below(4) == 0 ? strange[below(5)] : below(20);
    }
    if (rarely()) code.resize(below(code.size() + 1));
    const int64_t number = florence2::addProgram(code, values);
    call("Florence2Program", {{{"program", static_cast<double>(number)}}, {}}, inputs, rarely() ? 1 : 2);
    florence2::removeProgram(number);
  }

  std::mt19937 random_;
  const std::string file_;
};

// Sums of 500 ones: the team works, however many of its threads could be started.
bool sumsAreRight() {
  const int64_t M = 3, K = 500, N = 70;
  const std::vector<float> ones(K * N, 1.0f);
  std::vector<float> y(M * N);
  florence2::fewRowsMatMul(ones.data(), {ones.data(), false, false}, nullptr, false, y.data(), M, K, N);
  for (const float value : y)
    if (value != K) return false;
  return true;
}

}  // namespace

int main(int, char** arguments) {
  const double seconds = std::atof(arguments[1]);
  const int seed = std::atoi(arguments[2]);
  TF_Status status;
  florence2::registerAttention(&status);
  florence2::registerFewRows(&status);
  florence2::registerLowRank(&status);
  florence2::registerOnePass(&status);
  florence2::registerProgram(&status);
  florence2::registerReadWeight(&status);
  std::printf("%d threads in the team\n", florence2::team().size());
  if (!sumsAreRight()) return std::puts("a sum is wrong"), 1;
  if (seconds == 0) std::_Exit(std::fflush(stdout));  // only the start is tested
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; i++)
    callers.emplace_back([=] {
      Caller caller(seed * 3 + i, arguments[3]);
      while (std::chrono::steady_clock::now() < end) caller.callSomething();
    });
  for (std::thread& caller : callers) caller.join();
  std::printf("%lld results, %lld errors\n", static_cast<long long>(results), static_cast<long long>(errors));
  std::fflush(stdout);
  std::_Exit(results > 0 && errors > 0 ? 0 : 1);  // without waiting for the team's threads
}
