// roc_rates_, precision_recall_ and best_rates_: the coordinates of curves from counts at each
// threshold, and the best of them.
//
// Every coordinate is a quotient of two counts, so ranges of the points go to the threads as they
// come. A curve whose result has one place more than it has counts begins with a point of its own.
#include <algorithm>
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

// Counts of so many curves at so many points.
struct Curves {
  int64_t curves;
  int64_t points;

  Curves(const std::array<const Tensor*, 2>& counts, std::initializer_list<const Tensor*> totals) {
    const int64_t axes = counts[0]->dim();
    require(axes == 1 || axes == 2, "counts must be [K] or [C, K].");
    points = counts[0]->size(-1);
    curves = axes == 2 ? counts[0]->size(0) : 1;
    for (const Tensor* each : counts) {
      require(each->dim() == axes && each->numel() == curves * points && each->size(-1) == points &&
                  each->scalar_type() == ScalarType::Double,
              "counts must be float64 of one shape.");
    }
    for (const Tensor* each : totals) {
      require(each->scalar_type() == ScalarType::Double, "totals must be float64.");
      require_each(*each, axes - 1);
    }
  }

  void require_each(const Tensor& tensor, int64_t axes) const {
    require(tensor.dim() == axes && tensor.numel() == curves, "there must be one for each curve.");
  }
};

// The two results that hold the coordinates.
struct Coordinates : Curves {
  bool leads;  // one more point comes first

  Coordinates(const std::array<const Tensor*, 2>& out, const std::array<const Tensor*, 2>& counts,
              std::initializer_list<const Tensor*> totals)
      : Curves(counts, totals), leads(out[0]->size(-1) == points + 1) {
    for (const Tensor* each : out) {
      require(each->dim() == counts[0]->dim() && each->numel() == curves * length() &&
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

double share(double count, double total, double undefined) {
  return total == 0.0 ? undefined : count / total;
}

// Writes counts / totals.
template <class T>
void divide(T* rates, const Coordinates& results, const Tensor& counts, const Tensor& totals,
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
  const Coordinates results({&fpr, &tpr}, {&fps, &tps}, {&negatives, &positives});
  with_result_type(fpr, [&](auto type) {
    using T = decltype(type);
    divide(state_data<T>(fpr), results, fps, negatives, undefined);
    divide(state_data<T>(tpr), results, tps, positives, undefined);
  });
}

void precision_recall_cpu(Tensor precision, Tensor recall, const Tensor& fps, const Tensor& tps,
                          const Tensor& positives, bool ascending, double undefined) {
  const Coordinates results({&precision, &recall}, {&fps, &tps}, {&positives});
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

// fastmetrics/ops/rates.py documents them.
enum class Kind : int64_t {
  kPrecisionAtRecall = 0,
  kRecallAtPrecision = 1,
  kSensitivityAtSpecificity = 2,
  kSpecificityAtSensitivity = 3
};

constexpr int64_t kNowhere = -2;

// The best point so far; none yet.
struct Best {
  double rate = -1.0;
  double other = 0.0;
  int64_t place = kNowhere;
};

// Looks at the points of one curve from the highest threshold on.
Best best_of(const Counts& fps, const Counts& tps, double negatives, double positives, Kind kind,
             double minimum, int64_t begin, int64_t end, double undefined) {
  const bool of_precision = kind == Kind::kPrecisionAtRecall || kind == Kind::kRecallAtPrecision;
  const bool is_found = kind == Kind::kRecallAtPrecision || kind == Kind::kSensitivityAtSpecificity;
  Best best;
  for (int64_t i = begin; i < end; ++i) {
    const double fp = i < 0 ? 0.0 : fps[i];  // in front of the first no score is reached
    const double tp = i < 0 ? 0.0 : tps[i];
    const double found = share(tp, positives, undefined);
    const double right = of_precision ? tp / (tp + fp) : share(negatives - fp, negatives, 1.0);
    const double rate = is_found ? found : right;
    const double other = is_found ? right : found;
    const bool allowed = other >= minimum && (rate > 0.0 || !of_precision);
    if (allowed &&
        (rate > best.rate || (of_precision && rate == best.rate && other > best.other))) {
      best = {rate, other, i};
    }
  }
  return best;
}

void best_rates_cpu(Tensor best, Tensor place, const Tensor& fps, const Tensor& tps,
                    const Tensor& negatives, const Tensor& positives, int64_t kind, double minimum,
                    bool leads, double undefined) {
  const Curves sizes({&fps, &tps}, {&negatives, &positives});
  sizes.require_each(best, fps.dim() - 1);
  sizes.require_each(place, fps.dim() - 1);
  require(place.scalar_type() == ScalarType::Long, "`place` must be int64.");
  require(kind >= 0 && kind <= 3, "there is no such kind of rates.");
  int64_t* places = state_data<int64_t>(place);
  with_result_type(best, [&](auto type) {
    using T = decltype(type);
    T* rates = state_data<T>(best);
    for (int64_t curve = 0; curve < sizes.curves; ++curve) {
      const Best found =
          best_of(counts_of(fps, curve), counts_of(tps, curve), total_of(negatives, curve),
                  total_of(positives, curve), static_cast<Kind>(kind), minimum, -int64_t{leads},
                  sizes.points, undefined);
      const bool none = found.place == kNowhere;
      rates[curve] = static_cast<T>(std::max(found.rate, 0.0));
      places[curve] = (none ? sizes.points : found.place) + leads;
    }
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<roc_rates_cpu>(library, "roc_rates_");
  register_op<best_rates_cpu>(library, "best_rates_");
  register_op<precision_recall_cpu>(library, "precision_recall_");
}

}  // namespace fastmetrics
