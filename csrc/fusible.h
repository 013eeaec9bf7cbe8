// How an op takes part in fused_: its file says `fuse<job>(name)` where it registers the op.
#pragma once

#include <string_view>
#include <tuple>
#include <type_traits>

#include "job.h"

namespace fastmetrics {

using OptionalTensor = std::optional<Tensor>;
using OptionalInt = std::optional<int64_t>;

// The largest softmax probability of each position of a block, which one job leaves for another
// that adds the same block after it.
struct TopProbs {
  struct Part {
    int64_t begin = 0;
    std::vector<float> probs;
  };
  bool wanted = false;
  std::vector<Part> parts;  // none if nobody writes them
};

// What every update of a batch reads.
struct Inputs {
  const Tensor& preds;
  const Tensor& target;
  const OptionalTensor& weight;
  TopProbs* top_probs = nullptr;  // null for a job alone
};

// A list of arguments that is read in order.
template <class T>
class Reader {
 public:
  explicit Reader(std::vector<T>& items) : items_(items) {}

  bool at_end() const { return next_ == items_.size(); }
  T& next() {
    require(!at_end(), "the lists of fused_ do not fit each other.");
    return items_[next_++];
  }

 private:
  std::vector<T>& items_;
  size_t next_ = 0;
};

// The arguments of one call of fused_, read job after job as fastmetrics/ops/fusible.py says.
struct FusedCall {
  const Inputs& inputs;
  Reader<Tensor> states;
  Reader<Tensor> events;
  Reader<Tensor> edges;
  Reader<int64_t> program;
  Reader<double> numbers;

  // Calls the function that makes a job with what it takes.
  template <class... Args>
  std::unique_ptr<Job> make(std::unique_ptr<Job> (*job)(Tensor& state, Args...)) {
    std::tuple<Tensor&, Args...> args{states.next(), next<Args>()...};  // braces: left to right
    return std::apply(job, args);
  }

 private:
  static inline const OptionalTensor kNoGroups;

  // The type of an argument says where it is.
  template <class T>
  T next() {
    if constexpr (std::is_same_v<T, Tensor&>) {
      return events.next();
    } else if constexpr (std::is_same_v<T, const Inputs&>) {
      return inputs;
    } else if constexpr (std::is_same_v<T, const Tensor&>) {
      return edges.next();
    } else if constexpr (std::is_same_v<T, const OptionalTensor&>) {
      return kNoGroups;
    } else if constexpr (std::is_same_v<T, double>) {
      return numbers.next();
    } else if constexpr (std::is_same_v<T, bool>) {
      return program.next() != 0;
    } else if constexpr (std::is_same_v<T, OptionalInt>) {
      const bool given = program.next() != 0;
      const int64_t value = program.next();
      return given ? OptionalInt(value) : std::nullopt;
    } else {
      static_assert(std::is_same_v<T, int64_t>);
      return program.next();
    }
  }
};

// What stands for an op in `program`; fastmetrics/ops/fusible.py has the same rule, 32-bit FNV-1a.
constexpr int64_t code_of(std::string_view op) {
  uint32_t code = 2166136261;
  for (const char letter : op) {
    code = (code ^ static_cast<unsigned char>(letter)) * 16777619;
  }
  return code;
}

struct FusibleOp {
  int64_t code;
  std::unique_ptr<Job> (*job)(FusedCall& call);
};

inline std::vector<FusibleOp>& fusible_ops() {
  static std::vector<FusibleOp> ops;
  return ops;
}

// Lets fused_ make the jobs of an op. The function takes the state, the events if the op has any,
// the inputs, and then what the op takes after `weight`.
template <auto kJob>
void fuse(std::string_view op) {
  fusible_ops().push_back({code_of(op), [](FusedCall& call) { return call.make(kJob); }});
}

}  // namespace fastmetrics
