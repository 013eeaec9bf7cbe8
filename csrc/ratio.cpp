// ratio_: quotients of the counts of classes, and their averages.
//
// A set of counts is `[C, 4]`: tp, fp, tn and fn of each class, or `[H, C, 2, 2]`, tables of H
// interpretations of scores of which the events choose one. Sets, such as samples, go to the
// threads; the classes of one are added up in order, in double.
#include <algorithm>
#include <array>

#include "op.h"
#include "parallel.h"
#include "stable.h"

namespace fastmetrics {
namespace {

// fastmetrics/ops/ratio.py documents them.
enum class Mean : int64_t {
  kApart = 0,
  kTogether = 1,
  kOfAll = 2,
  kOfSeen = 3,
  kOfTargeted = 4,
  kByTargets = 5
};

struct Counts {
  double tp;
  double fp;
  double tn;
  double fn;

  Counts& operator+=(const Counts& other) {
    tp += other.tp;
    fp += other.fp;
    tn += other.tn;
    fn += other.fn;
    return *this;
  }
};

struct Quotient {
  std::array<double, 8> terms;  // of tp, fp, tn, fn: the numerator's, the denominator's
  double undefined;

  double operator()(const Counts& of) const {
    const auto sum = [&](size_t first) {
      return terms[first] * of.tp + terms[first + 1] * of.fp + terms[first + 2] * of.tn +
             terms[first + 3] * of.fn;
    };
    const double denominator = sum(4);
    return denominator == 0.0 ? undefined : sum(0) / denominator;
  }
};

double weight_of(const Counts& counts, Mean mean) {
  switch (mean) {
    case Mean::kOfSeen:
      return counts.tp + counts.fn + counts.fp > 0.0;
    case Mean::kOfTargeted:
      return counts.tp + counts.fn > 0.0;
    case Mean::kByTargets:
      return counts.tp + counts.fn;
    default:
      return 1.0;
  }
}

// The columns of tp, fp, tn and fn: IN_ORDER and TABLE_ORDER of fastmetrics/ops/counted.py.
using Order = std::array<int64_t, 4>;
constexpr Order kInOrder{0, 1, 2, 3};
constexpr Order kOfTable{3, 1, 0, 2};

template <class T>
struct Set {
  const T* data;
  int64_t classes;
  const Order& order;

  Counts operator[](int64_t place) const {
    const T* row = data + 4 * place;
    const auto column = [&](size_t which) { return static_cast<double>(row[order[which]]); };
    return {column(0), column(1), column(2), column(3)};
  }
};

template <class T>
double average(const Set<T>& set, const Quotient& quotient, Mean mean, double nothing) {
  if (mean == Mean::kTogether) {
    Counts total{};
    for (int64_t i = 0; i < set.classes; ++i) {
      total += set[i];
    }
    return quotient(total);
  }
  double sum = 0.0;
  double weights = 0.0;
  for (int64_t i = 0; i < set.classes; ++i) {
    const Counts counts = set[i];
    const double weight = weight_of(counts, mean);
    const double value = quotient(counts);
    if (weight != 0.0 && value == value) {  // an undefined one has no part
      sum += weight * value;
      weights += weight;
    }
  }
  return weights == 0.0 ? nothing : sum / weights;
}

// How sets lie, and which interpretation of them is read.
struct Sets {
  int64_t classes;
  int64_t sets;
  int64_t stride;
  int64_t start = 0;
  const Order& order;

  Sets(const Tensor& counts, const std::optional<Tensor>& events)
      : order(events ? kOfTable : kInOrder) {
    const int64_t axes = events ? 4 : 2;
    const int64_t dim = counts.dim();
    require(dim >= axes && counts.is_contiguous(), "`counts` must be contiguous.");
    require(
        events ? counts.size(dim - 1) == 2 && counts.size(dim - 2) == 2 : counts.size(dim - 1) == 4,
        "`counts` must be [..., C, 4] or [..., H, C, 2, 2].");
    classes = counts.size(dim - axes + (events ? 1 : 0));
    sets = 1;
    for (int64_t axis = 0; axis < dim - axes; ++axis) {
      sets *= counts.size(axis);
    }
    stride = 4 * classes;
    if (events) {
      const int64_t interpretations = counts.size(dim - 4);
      require(interpretations == 1 || interpretations == 2, "H must be 1 or 2.");
      require(events->scalar_type() == ScalarType::Long && events->numel() == kNumEvents &&
                  events->is_contiguous(),
              "`events` must be int64 [4].");
      const auto* seen = static_cast<const int64_t*>(events->const_data_ptr());
      start = interpretations == 2 && seen[kOutside] > 0 ? stride : 0;
      stride *= interpretations;
    }
  }
};

template <class T, class Out>
void write_values(Out* out, const T* counts, const Sets& sets, const Quotient& quotient, Mean mean,
                  double nothing) {
  const Partition ranges(sets.sets, sets.stride * static_cast<int64_t>(sizeof(T)), 0, true);
  ranges.run([&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Set<T> set{counts + i * sets.stride + sets.start, sets.classes, sets.order};
      if (mean != Mean::kApart) {
        out[i] = static_cast<Out>(average(set, quotient, mean, nothing));
        continue;
      }
      for (int64_t place = 0; place < sets.classes; ++place) {
        out[i * sets.classes + place] = static_cast<Out>(quotient(set[place]));
      }
    }
  });
}

void ratio_cpu(Tensor value, const Tensor& counts, const std::optional<Tensor>& events,
               const std::vector<double>& terms, int64_t mean, double undefined, double nothing) {
  const Sets sets(counts, events);
  require(mean >= 0 && mean <= 5, "there is no such mean.");
  require(value.numel() == sets.sets * (mean == 0 ? sets.classes : 1) && value.is_contiguous(),
          "`value` does not fit `counts`.");
  Quotient quotient{{}, undefined};
  require(terms.size() == quotient.terms.size(), "there must be eight terms.");
  std::copy(terms.begin(), terms.end(), quotient.terms.begin());
  const bool weighted = counts.scalar_type() == ScalarType::Double;
  require(weighted || counts.scalar_type() == ScalarType::Long, "counts are int64 or float64.");
  with_result_type(value, [&](auto type) {
    auto* out = state_data<decltype(type)>(value);
    const auto write = [&](const auto* data) {
      write_values(out, data, sets, quotient, static_cast<Mean>(mean), nothing);
    };
    weighted ? write(static_cast<const double*>(counts.const_data_ptr()))
             : write(static_cast<const int64_t*>(counts.const_data_ptr()));
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) { register_op<ratio_cpu>(library, "ratio_"); }

}  // namespace fastmetrics
