// error_sums_: any choice of error terms of predictions and targets, summed over the samples.
#include "error_sums.h"

#include <numeric>
#include <vector>

#include "parallel.h"
#include "scores.h"

#define FM_KERNELS "error_sums.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

LoadReals loader(ScalarType type) {
  require(is_score_type(type) || is_label_type(type), "`preds` and `target` must be real tensors.");
  if (is_score_type(type)) {
    return with_score_type(type, [](auto t) { return FM_PICK(kLoadReals<decltype(t)>); });
  }
  return with_label_type(type, [](auto t) { return FM_PICK(kLoadReals<decltype(t)>); });
}

AddErrors kernel_of(const ErrorKernels& kernels, int64_t column, const ErrorParameters& given) {
  if (column == kPower) {
    return given.p == 1.0           ? kernels.add[kAbsolute]
           : given.p == 2.0         ? kernels.add[kSquared]
           : given.p == 3.0         ? kernels.cubed
           : std::isfinite(given.p) ? kernels.add[kPower]
                                    : kernels.any_power;
  }
  if (column == kDeviance) {
    return given.power == 0.0   ? kernels.add[kSquared]
           : given.power == 1.0 ? kernels.poisson
           : given.power == 2.0 ? kernels.gamma
                                : kernels.add[kDeviance];
  }
  return kernels.add[column];
}

// One column of the state; positions outside a domain are counted whatever they weigh.
struct Column {
  AddErrors add;
  bool weighted = true;
};

// The columns of the state, in its order; without weights the last one needs no kernel.
std::vector<Column> chosen(int64_t terms, bool weighted, const ErrorParameters& parameters) {
  const ErrorKernels& kernels = FM_PICK(kErrors);
  std::vector<Column> found;
  for (int64_t term = 0; term < kErrorTerms; ++term) {
    if (terms >> term & 1) {
      found.push_back({kernel_of(kernels, term, parameters)});
    }
  }
  if (terms >> kDeviance & 1) {
    // Nothing lies outside the domain of a square.
    found.push_back({parameters.power == 0.0 ? nullptr : kernels.add[kOutsideDomain], false});
  }
  found.push_back({weighted ? kernels.add[kWeight] : nullptr});
  return found;
}

// One tensor as doubles.
struct Source {
  explicit Source(const Tensor& tensor)
      : data(tensor.const_data_ptr()),
        load(loader(tensor.scalar_type())),
        is_double(tensor.scalar_type() == ScalarType::Double) {}

  const void* data;
  LoadReals load;
  bool is_double;
};

// Columns whose elements lie next to each other are walked one after the other.
bool by_column(const Tensor& preds, const Tensor& target, int64_t columns) {
  constexpr int64_t kWorthwhile = 64;
  return columns > 1 && preds.dim() == 2 && preds.size(1) == columns &&
         preds.size(0) >= kWorthwhile && preds.stride(0) < preds.stride(1) &&
         target.stride(0) < target.stride(1);
}

// Walks the elements in blocks, each within one row or of whole periods of columns.
class Errors {
 public:
  Errors(const Tensor& preds, const Tensor& target, const std::optional<Tensor>& weight,
         int64_t rows, int64_t columns, bool apart, const Weights& weights)
      : preds_(preds), target_(target), rows_(rows), weights_(weights) {
    if (columns == 1) {
      for (const int64_t axis : order(target, static_cast<bool>(weights))) {
        geometry_.push(target.size(axis), preds.stride(axis), target.stride(axis));
      }
      per_row_ = rows == 0 ? 1 : preds.numel() / rows;
    } else if (apart) {
      geometry_.push(columns, preds.stride(1), target.stride(1));
      geometry_.push(rows, preds.stride(0), target.stride(0));
      per_row_ = 1;
      columns = 1;
    } else {
      const bool wide = preds.dim() == 2 && preds.size(1) == columns;
      geometry_.push(rows, preds.stride(0), target.stride(0));
      geometry_.push(columns, wide ? preds.stride(1) : 0, wide ? target.stride(1) : 0);
      per_row_ = columns;
    }
    if (weights_ && per_row_ == 1) {
      weight_source_.emplace(*weight);
      weight_stride_ = weight->stride(0);
    }
    const ErrorKernels& kernels = FM_PICK(kErrors);
    period_ = columns == 1 ? kernels.period : columns * kernels.lanes;
    if (period_ > kErrorBlock) {
      period_ = columns;
      block_ = std::min(kErrorBlock, columns);
    } else {
      block_ = kErrorBlock / period_ * period_;
    }
  }

  int64_t period() const { return period_; }

  // Adds the elements [begin, end), whose first one begins a row (or lies in the only column that
  // they belong to), to one row of
  // `period` sums per kernel.
  void add(int64_t begin, int64_t end, std::span<const Column> kernels,
           const ErrorParameters& parameters, double* sums) const {
    alignas(64) double preds[kErrorBlock];
    alignas(64) double target[kErrorBlock];
    alignas(64) double weight[kErrorBlock];
    for (int64_t first = begin; first < end;) {
      const int64_t slot = (first - begin) % period_;
      const int64_t count = std::min({block_, end - first, slot > 0 ? period_ - slot : block_});
      const double* p = preds;
      const double* t = target;
      read(first, count, preds, target, p, t);
      const double* w = weights_ ? weight : nullptr;
      if (weights_) {
        read_weights(first, count, weight);
      }
      for (size_t k = 0; k < kernels.size(); ++k) {
        if (kernels[k].add != nullptr) {
          kernels[k].add(p, t, kernels[k].weighted ? w : nullptr, count, parameters, period_,
                         sums + static_cast<int64_t>(k) * period_ + slot);
        }
      }
      first += count;
    }
  }

 private:
  // All axes, as they lie in memory where their order does not show.
  static std::vector<int64_t> order(const Tensor& target, bool keep) {
    std::vector<int64_t> axes(target.dim());
    std::iota(axes.begin(), axes.end(), 0);
    if (!keep) {
      std::stable_sort(axes.begin(), axes.end(), [&](int64_t left, int64_t right) {
        return target.stride(left) > target.stride(right);
      });
    }
    return axes;
  }

  void read(int64_t first, int64_t count, double* preds, double* target, const double*& p,
            const double*& t) const {
    int64_t done = 0;
    geometry_.for_runs(first, first + count, [&](int64_t length, int64_t from, int64_t to) {
      if (length == count && preds_.is_double && geometry_.inner_a() == 1) {
        p = static_cast<const double*>(preds_.data) + from;
      } else {
        preds_.load(preds_.data, from, geometry_.inner_a(), length, preds + done);
      }
      if (length == count && target_.is_double && geometry_.inner_b() == 1) {
        t = static_cast<const double*>(target_.data) + to;
      } else {
        target_.load(target_.data, to, geometry_.inner_b(), length, target + done);
      }
      done += length;
    });
  }

  void read_weights(int64_t first, int64_t count, double* weight) const {
    if (weight_source_.has_value()) {
      weight_source_->load(weight_source_->data, first % rows_ * weight_stride_, weight_stride_,
                           count, weight);
      return;
    }
    for (int64_t i = 0; i < count;) {
      const int64_t row = (first + i) / per_row_;
      const int64_t stop = std::min(count, (row + 1) * per_row_ - first);
      std::fill(weight + i, weight + stop, weights_[row]);
      i = stop;
    }
  }

  Source preds_;
  Source target_;
  std::optional<Source> weight_source_;
  int64_t weight_stride_ = 0;
  Geometry geometry_;
  int64_t rows_;
  int64_t per_row_;
  int64_t period_;
  int64_t block_;
  const Weights& weights_;
};

void check_shapes(const Tensor& preds, const Tensor& target, int64_t columns) {
  require(preds.dim() == target.dim(), "`preds` and `target` must have one shape.");
  for (int64_t axis = 0; axis < preds.dim(); ++axis) {
    require(preds.size(axis) == target.size(axis), "`preds` and `target` must have one shape.");
  }
  if (columns != 1) {
    require(columns > 0 && (preds.dim() == 1 || preds.dim() == 2), "several outputs need [N, D].");
    require(preds.dim() == 1 || preds.size(1) == 1 || preds.size(1) == columns,
            "the outputs do not fit the state.");
  }
}

void error_sums_cpu(Tensor state, const Tensor& preds, const Tensor& target,
                    const std::optional<Tensor>& weight, int64_t terms, double p, double power) {
  require(terms > 0 && terms < (int64_t{1} << kErrorTerms), "`terms` holds an unknown term.");
  require((terms >> kDeviance & 1) == 0 || power <= 0.0 || power >= 1.0 || std::isnan(power),
          "`power` must not lie between 0 and 1.");
  require(state.dim() == 2 && state.scalar_type() == ScalarType::Double,
          "the state of error_sums_ must be float64 [D, K].");
  const int64_t columns = state.size(0);
  check_shapes(preds, target, columns);
  const int64_t rows = preds.dim() == 0 ? 1 : preds.size(0);
  const Weights weights(weight, rows, state);
  const ErrorParameters parameters{p, power};
  const std::vector<Column> kernels = chosen(terms, static_cast<bool>(weights), parameters);
  const int64_t width = static_cast<int64_t>(kernels.size());
  require(state.size(1) == width, "the state of error_sums_ does not fit its terms.");
  double* data = state_data<double>(state);
  const bool apart = by_column(preds, target, columns);
  const Errors errors(preds, target, weight, rows, columns, apart, weights);
  const int64_t elements = columns == 1 ? preds.numel() : rows * columns;
  if (elements == 0) {
    return;
  }
  // Parts are made of rows, so that each begins with the first column.
  const int64_t each = columns == 1 ? 1 : columns;
  const int64_t size = columns * width;
  const Partition partition(elements / each, each * 8, size * 8, false);
  Scratch<double> scratch(partition.parts, size);
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    std::vector<double> sums(errors.period() * width);
    double* own = scratch.sums(part);
    const auto add = [&](int64_t first, int64_t last, int64_t repeat, double* to) {
      errors.add(first, last, kernels, parameters, sums.data());
      for (int64_t k = 0; k < width; ++k) {
        for (int64_t i = 0; i < errors.period(); ++i) {
          to[i % repeat * width + k] += sums[k * errors.period() + i];
        }
      }
    };
    if (!apart) {
      add(begin * each, end * each, columns, own);
      return;
    }
    for (int64_t column = 0; column < columns; ++column) {
      std::fill(sums.begin(), sums.end(), 0.0);
      add(column * rows + begin, column * rows + end, 1, own + column * width);
    }
  });
  scratch.combine();
  double* total = scratch.sums(0);
  if (terms >> kDeviance & 1) {
    for (int64_t column = 0; column < columns; ++column) {
      if (total[column * width + width - 2] > 0.0) {
        throw std::runtime_error(
            "error_sums_: `preds` or `target` lie outside the domain of the deviance.");
      }
    }
  }
  if (!weights) {
    for (int64_t column = 0; column < columns; ++column) {
      total[column * width + width - 1] = static_cast<double>(elements / columns);
    }
  }
  for (int64_t i = 0; i < size; ++i) {
    data[i] += total[i];
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  library.impl("error_sums_", TORCH_BOX(&error_sums_cpu));
}

}  // namespace fastmetrics
