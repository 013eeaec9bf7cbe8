// aggregate_ and aggregate_value_: weighted sums, largest and smallest of a stream of numbers.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "op.h"
#include "parallel.h"
#include "reals.h"
#include "simd.h"

namespace fastmetrics {

// fastmetrics/ops/aggregate.py documents them.
enum class Reduction : int64_t { kSum = 0, kMax = 1, kMin = 2 };
enum class Nans : int64_t { kKeep = 0, kDrop = 1, kRefuse = 2, kFill = 3 };

// What stands in for a NaN and for its weight; `keep`: NaN are values like others.
struct NanRule {
  bool keep;
  double value;
  double weight;
};

// As many running totals side by side, to hide the latency of an addition.
constexpr int64_t kLanes = 32;
constexpr int64_t kBlock = 2048;  // values reduced before a look for NaN

struct Totals {
  double values[kLanes];
  double weights[kLanes];
  int64_t nans;
  int64_t bad_weights;
};

struct AggregateKernels {
  void (*floats)(const float* values, int64_t count, const NanRule& rule, Totals& totals);
  void (*doubles)(const double* values, int64_t count, const NanRule& rule, Totals& totals);
  void (*weighted)(const double* values, const double* weights, int64_t count, const NanRule& rule,
                   Totals& totals);
};

}  // namespace fastmetrics

#define FM_KERNELS "aggregate.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

constexpr int64_t kBuffer = 512;  // numbers converted at a time

double neutral(Reduction reduction) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return reduction == Reduction::kSum ? 0.0 : reduction == Reduction::kMax ? -kInfinity : kInfinity;
}

double join(Reduction reduction, double a, double b) {
  if (reduction == Reduction::kSum) {
    return a + b;
  }
  if (std::isnan(a) || std::isnan(b)) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return reduction == Reduction::kMax ? std::max(a, b) : std::min(a, b);
}

const AggregateKernels& kernels_of(Reduction reduction) {
  switch (reduction) {
    case Reduction::kSum:
      return FM_PICK(kAggregate<Reduction::kSum>);
    case Reduction::kMax:
      return FM_PICK(kAggregate<Reduction::kMax>);
    default:
      return FM_PICK(kAggregate<Reduction::kMin>);
  }
}

NanRule rule_of(Nans nans, Reduction reduction, double fill) {
  switch (nans) {
    case Nans::kKeep:
      return NanRule{true, std::numeric_limits<double>::quiet_NaN(), 1.0};
    case Nans::kFill:
      return NanRule{false, fill, 1.0};
    default:
      return NanRule{false, neutral(reduction), 0.0};
  }
}

// The numbers of one update, and their weights if there are any.
class Stream {
 public:
  Stream(const Tensor& value, const std::optional<Tensor>& weight)
      : data_(value.const_data_ptr()),
        type_(value.scalar_type()),
        load_(load_reals(type_)),
        count_(value.numel()),
        bytes_each_(static_cast<int64_t>(value.element_size())) {
    const int64_t axes = value.dim();
    const int64_t missing = weight.has_value() ? axes - weight->dim() : axes;
    require(missing >= 0, "`weight` must have a shape that can be broadcast to that of `value`.");
    if (weight.has_value()) {
      weight_data_ = weight->const_data_ptr();
      load_weight_ = load_reals(weight->scalar_type());
    }
    for (int64_t axis = 0; axis < axes; ++axis) {
      const int64_t size = value.size(axis);
      int64_t step = 0;
      if (axis >= missing && weight->size(axis - missing) != 1) {
        require(weight->size(axis - missing) == size,
                "`weight` must have a shape that can be broadcast to that of `value`.");
        step = weight->stride(axis - missing);
      }
      geometry_.push(size, value.stride(axis), step);
    }
  }

  int64_t count() const { return count_; }
  int64_t bytes_each() const { return bytes_each_; }
  bool weighted() const { return weight_data_ != nullptr; }

  void reduce(int64_t begin, int64_t end, const AggregateKernels& kernels, const NanRule& rule,
              Totals& totals) const {
    geometry_.for_runs(begin, end, [&](int64_t length, int64_t from, int64_t weight_from) {
      if (!weighted() && geometry_.inner_a() == 1 && type_ == ScalarType::Float) {
        kernels.floats(static_cast<const float*>(data_) + from, length, rule, totals);
      } else if (!weighted() && geometry_.inner_a() == 1 && type_ == ScalarType::Double) {
        kernels.doubles(static_cast<const double*>(data_) + from, length, rule, totals);
      } else {
        reduce_converted(length, from, weight_from, kernels, rule, totals);
      }
    });
  }

 private:
  void reduce_converted(int64_t length, int64_t from, int64_t weight_from,
                        const AggregateKernels& kernels, const NanRule& rule,
                        Totals& totals) const {
    std::array<double, kBuffer> values;
    std::array<double, kBuffer> weights;
    const int64_t step = geometry_.inner_a();
    const int64_t weight_step = geometry_.inner_b();
    for (int64_t done = 0; done < length; done += kBuffer) {
      const int64_t count = std::min(kBuffer, length - done);
      load_(data_, from + done * step, step, count, values.data());
      if (weighted()) {
        load_weight_(weight_data_, weight_from + done * weight_step, weight_step, count,
                     weights.data());
        totals.bad_weights += count_out_of_range(weights.data(), count);
        kernels.weighted(values.data(), weights.data(), count, rule, totals);
      } else {
        kernels.doubles(values.data(), count, rule, totals);
      }
    }
  }

  const void* data_;
  ScalarType type_;
  LoadReals load_;
  int64_t count_;
  int64_t bytes_each_;
  const void* weight_data_ = nullptr;
  LoadReals load_weight_ = nullptr;
  Geometry geometry_;
};

// (total, weight) or the total alone.
double* totals_of(Tensor& state, Reduction reduction) {
  require(state.scalar_type() == ScalarType::Double &&
              (state.numel() == 1 || (state.numel() == 2 && reduction == Reduction::kSum)),
          "the state of an aggregate must be float64 with one element, or two for a sum.");
  return state_data<double>(state);
}

Reduction reduction_of(int64_t code) {
  require(code >= 0 && code <= 2, "`reduction` must be 0, 1 or 2.");
  return static_cast<Reduction>(code);
}

void aggregate_cpu(Tensor state, Tensor events, const Tensor& value,
                   const std::optional<Tensor>& weight, int64_t reduction_code, int64_t nans_code,
                   double fill) {
  const Reduction reduction = reduction_of(reduction_code);
  require(nans_code >= 0 && nans_code <= 3, "`nans` must be 0, 1, 2 or 3.");
  require(!weight.has_value() || reduction == Reduction::kSum, "only sums take a weight.");
  const Nans nans = static_cast<Nans>(nans_code);
  double* total = totals_of(state, reduction);
  int64_t* event_counts = events_data(events);
  const Stream stream(value, weight);
  if (stream.count() == 0) {
    return;
  }
  const NanRule rule = rule_of(nans, reduction, fill);
  const AggregateKernels& kernels = kernels_of(reduction);
  const Partition partition(stream.count(), stream.bytes_each(), kLanes, false);
  std::array<Totals, kMaxWeightedParts> parts;
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    Totals& own = parts[part];
    std::fill(own.values, own.values + kLanes, neutral(reduction));
    std::fill(own.weights, own.weights + kLanes, 0.0);
    own.nans = 0;
    own.bad_weights = 0;
    stream.reduce(begin, end, kernels, rule, own);
  });
  double found = neutral(reduction);
  double weights = 0.0;
  int64_t num_nans = 0;
  int64_t bad_weights = 0;
  for (int64_t part = 0; part < partition.parts; ++part) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      found = join(reduction, found, parts[part].values[lane]);
      weights += parts[part].weights[lane];
    }
    num_nans += parts[part].nans;
    bad_weights += parts[part].bad_weights;
  }
  const bool drops = nans == Nans::kDrop || nans == Nans::kRefuse;
  if (nans == Nans::kRefuse && num_nans > 0) {
    throw std::runtime_error("aggregate_: `value` and `weight` must not hold NaN, got " +
                             std::to_string(num_nans) + " of them.");
  }
  total[0] = join(reduction, total[0], found);
  if (state.numel() == 2) {
    total[1] +=
        stream.weighted() ? weights : static_cast<double>(stream.count() - (drops ? num_nans : 0));
  }
  event_counts[kNan] += drops ? num_nans : 0;
  event_counts[kBadWeight] += bad_weights;
}

void aggregate_value_cpu(Tensor state, double value, double weight, int64_t reduction_code) {
  const Reduction reduction = reduction_of(reduction_code);
  double* total = totals_of(state, reduction);
  total[0] = join(reduction, total[0], reduction == Reduction::kSum ? value * weight : value);
  if (state.numel() == 2) {
    total[1] += weight;
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<aggregate_cpu>(library, "aggregate_");
  register_op<aggregate_value_cpu>(library, "aggregate_value_");
}

}  // namespace fastmetrics
