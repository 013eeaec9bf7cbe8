// roc_rates_ and precision_recall_: the coordinates of curves from counts at each threshold.
//
// Every number is a quotient of two counts, so ranges of the points go to the threads as they come.
// A curve whose result has one place more than it has counts begins with a point of its own.
#include <array>
#include <initializer_list>

#include "op.h"
#include "parallel.h"
#include "stable.h"

namespace fastmetrics {
namespace {

// The counts of one curve, by descending threshold.
struct Counts {
  const double* data;
  int64_t stride;

  double operator[](int64_t point) const { return data[point * stride]; }
};

Counts counts_of(const Tensor& tensor, int64_t curve) {
  const int64_t first = tensor.dim() == 2 ? curve * tensor.stride(0) : 0;
  return {static_cast<const double*>(tensor.const_data_ptr()) + first, tensor.stride(-1)};
}

double total_of(const Tensor& tensor, int64_t curve) {
  const int64_t place = tensor.dim() == 1 ? curve * tensor.stride(0) : 0;
  return static_cast<const double*>(tensor.const_data_ptr())[place];
}

// What the results of an op have in common.
struct Results {
  int64_t curves;
  int64_t points;  // of the counts
  bool leads;      // one more comes first

  Results(const std::array<const Tensor*, 2>& out, const std::array<const Tensor*, 2>& counts,
          std::initializer_list<const Tensor*> totals) {
    const int64_t axes = counts[0]->dim();
    require(axes == 1 || axes == 2, "counts must be [K] or [C, K].");
    points = counts[0]->size(-1);
    curves = axes == 2 ? counts[0]->size(0) : 1;
    leads = out[0]->size(-1) == points + 1;
    for (const Tensor* each : counts) {
      require(each->dim() == axes && each->numel() == curves * points && each->size(-1) == points &&
                  each->scalar_type() == ScalarType::Double,
              "counts must be float64 of one shape.");
    }
    for (const Tensor* each : totals) {
      require(each->dim() == axes - 1 && each->numel() == curves &&
                  each->scalar_type() == ScalarType::Double,
              "totals must be float64, one for each curve.");
    }
    for (const Tensor* each : out) {
      require(each->dim() == axes && each->numel() == curves * length() &&
                  each->size(-1) == length() && each->scalar_type() == out[0]->scalar_type(),
              "results and counts do not fit.");
    }
  }

  int64_t length() const { return points + leads; }

  // Calls write(curve, begin, end) for all points of all curves.
  template <class F>
  void for_ranges(F&& write) const {
    const Partition ranges(points, 4 * sizeof(double), 0, true);
    for (int64_t curve = 0; curve < curves; ++curve) {
      ranges.run([&](int64_t, int64_t begin, int64_t end) { write(curve, begin, end); });
    }
  }
};

template <class F>
void with_result_type(const Tensor& out, F&& use) {
  if (out.scalar_type() == ScalarType::Float) {
    use(float{});
  } else {
    require(out.scalar_type() == ScalarType::Double, "results must be float32 or float64.");
    use(double{});
  }
}

double share(double count, double total, double undefined) {
  return total == 0.0 ? undefined : count / total;
}

// Writes counts / totals.
template <class T>
void divide(T* rates, const Results& results, const Tensor& counts, const Tensor& totals,
            double undefined) {
  results.for_ranges([&](int64_t curve, int64_t begin, int64_t end) {
    const Counts each = counts_of(counts, curve);
    const double total = total_of(totals, curve);
    T* first = rates + curve * results.length() + results.leads;
    for (int64_t i = begin; i < end; ++i) {
      first[i] = static_cast<T>(share(each[i], total, undefined));
    }
  });
  for (int64_t curve = 0; results.leads && curve < results.curves; ++curve) {
    rates[curve * results.length()] =
        static_cast<T>(share(0.0, total_of(totals, curve), undefined));
  }
}

void roc_rates_cpu(Tensor fpr, Tensor tpr, const Tensor& fps, const Tensor& tps,
                   const Tensor& negatives, const Tensor& positives, double undefined) {
  const Results results({&fpr, &tpr}, {&fps, &tps}, {&negatives, &positives});
  with_result_type(fpr, [&](auto type) {
    using T = decltype(type);
    divide(state_data<T>(fpr), results, fps, negatives, undefined);
    divide(state_data<T>(tpr), results, tps, positives, undefined);
  });
}

void precision_recall_cpu(Tensor precision, Tensor recall, const Tensor& fps, const Tensor& tps,
                          const Tensor& positives, bool ascending, double undefined) {
  const Results results({&precision, &recall}, {&fps, &tps}, {&positives});
  const int64_t length = results.length();
  const int64_t step = ascending ? -1 : 1;
  with_result_type(precision, [&](auto type) {
    using T = decltype(type);
    T* precisions = state_data<T>(precision);
    T* recalls = state_data<T>(recall);
    // Where the point of the highest threshold is written.
    const auto start = [&](int64_t curve) { return curve * length + (ascending ? length - 1 : 0); };
    results.for_ranges([&](int64_t curve, int64_t begin, int64_t end) {
      const Counts fp = counts_of(fps, curve);
      const Counts tp = counts_of(tps, curve);
      const double total = total_of(positives, curve);
      const int64_t first = start(curve) + (results.leads ? step : 0);
      for (int64_t i = begin; i < end; ++i) {
        precisions[first + i * step] = static_cast<T>(tp[i] / (tp[i] + fp[i]));
        recalls[first + i * step] = static_cast<T>(share(tp[i], total, undefined));
      }
    });
    for (int64_t curve = 0; results.leads && curve < results.curves; ++curve) {
      precisions[start(curve)] = T{1};
      recalls[start(curve)] = T{0};
    }
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<roc_rates_cpu>(library, "roc_rates_");
  register_op<precision_recall_cpu>(library, "precision_recall_");
}

}  // namespace fastmetrics
