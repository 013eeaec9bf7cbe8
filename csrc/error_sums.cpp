// error_sums_: any choice of error terms of predictions and targets, summed over the samples.
#include "error_sums.h"

#include <numeric>
#include <vector>

#include "fusible.h"
#include "op.h"
#include "scores.h"

#define FM_KERNELS "error_sums.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

LoadReals loader(ScalarType type) {
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
           : given.power == 1.5 ? kernels.square_roots
           : given.power == 2.0 ? kernels.gamma
           : given.power == 3.0 ? kernels.inverse_gaussian
                                : kernels.add[kDeviance];
  }
  return kernels.add[column];
}

// One column of the sums; positions outside a domain are counted whatever they weigh.
struct Term {
  int64_t column;
  ErrorParameters parameters;
  bool weighted;
  AddErrors add;  // empty if there is nothing to add up

  bool operator==(const Term& other) const {
    const bool deviance = column == kDeviance || column == kOutsideDomain;
    return column == other.column && (column != kPower || parameters.p == other.parameters.p) &&
           (!deviance || parameters.power == other.parameters.power);
  }
};

// The columns of a state, in its order.
std::vector<Term> terms_of(int64_t terms, const ErrorParameters& parameters, bool weighted) {
  const ErrorKernels& kernels = FM_PICK(kErrors);
  std::vector<Term> found;
  for (int64_t column = 0; column < kErrorTerms; ++column) {
    if (terms >> column & 1) {
      found.push_back({column, parameters, true, kernel_of(kernels, column, parameters)});
    }
  }
  if (terms >> kDeviance & 1) {
    // Nothing lies outside the domain of a square.
    const AddErrors add = parameters.power == 0.0 ? AddErrors{} : kernels.add[kOutsideDomain];
    found.push_back({kOutsideDomain, parameters, false, add});
  }
  found.push_back({kWeight, parameters, true, weighted ? kernels.add[kWeight] : AddErrors{}});
  return found;
}

// One tensor as doubles.
struct Source {
  explicit Source(const Tensor& tensor)
      : data(tensor.const_data_ptr()),
        load(loader(tensor.scalar_type())),
        is_double(tensor.scalar_type() == ScalarType::Double),
        is_float(tensor.scalar_type() == ScalarType::Float) {}

  const void* data;
  LoadReals load;
  bool is_double;
  bool is_float;
};

// Whole numbers of up to 64 bits of two tensors, subtracted before they become doubles: those hold
// the differences of time stamps, not the stamps.
class Differences {
 public:
  // With a tensor of int64 beside another one of whole numbers.
  static bool are_needed(const Tensor& preds, const Tensor& target) {
    return (preds.scalar_type() == ScalarType::Long || target.scalar_type() == ScalarType::Long) &&
           is_label_type(preds.scalar_type()) && is_label_type(target.scalar_type());
  }

  Differences(const Tensor& preds, const Tensor& target)
      : preds_(preds.const_data_ptr()),
        target_(target.const_data_ptr()),
        read_preds_(reader(preds.scalar_type())),
        read_target_(reader(target.scalar_type())) {}

  // out[i] = preds[from + i * step_a] - target[to + i * step_b], rounded once.
  void read(int64_t from, int64_t step_a, int64_t to, int64_t step_b, int64_t count,
            double* out) const {
    int64_t preds[kErrorBlock];
    int64_t target[kErrorBlock];
    read_preds_(preds_, from, step_a, count, preds);
    read_target_(target_, to, step_b, count, target);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t high = (preds[i] >> 32) - (target[i] >> 32);
      const int64_t low = (preds[i] & 0xffffffff) - (target[i] & 0xffffffff);
      out[i] = static_cast<double>(high) * 0x1p32 + static_cast<double>(low);
    }
  }

 private:
  using Read = void (*)(const void* data, int64_t offset, int64_t stride, int64_t count,
                        int64_t* out);

  static Read reader(ScalarType type) {
    return with_label_type(type, [](auto number) -> Read {
      using T = decltype(number);
      return [](const void* data, int64_t offset, int64_t stride, int64_t count, int64_t* out) {
        const T* first = static_cast<const T*>(data) + offset;
        for (int64_t i = 0; i < count; ++i) {
          out[i] = first[i * stride];
        }
      };
    });
  }

  const void* preds_;
  const void* target_;
  Read read_preds_;
  Read read_target_;
};

// Columns whose elements lie next to each other are walked one after the other.
bool by_column(const Tensor& preds, const Tensor& target, int64_t columns) {
  constexpr int64_t kWorthwhile = 64;
  return columns > 1 && preds.dim() == 2 && preds.size(1) == columns &&
         preds.size(0) >= kWorthwhile && preds.stride(0) < preds.stride(1) &&
         target.stride(0) < target.stride(1);
}

// Sums that a few terms may have in the nearest cache, and floats that may lie there with them.
constexpr int64_t kMostPeriod = 2048;

// Walks the elements in blocks, each within one row or of whole periods of columns.
class Errors {
 public:
  Errors(const Inputs& inputs, int64_t rows, int64_t columns, bool apart, const Weights& weights,
         std::span<const Term> terms)
      : preds_(inputs.preds), target_(inputs.target), rows_(rows), weights_(weights) {
    const auto& [preds, target, weight, top_probs] = inputs;
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
    if (Differences::are_needed(preds, target)) {
      differences_.emplace(preds, target);
    }
    sums_quotients_ = columns == 1 && !preds_.is_double && !target_.is_double;
    narrow_ = preds_.is_float && target_.is_float && !weights_ && geometry_.axes <= 1 &&
              geometry_.inner_a() == 1 && geometry_.inner_b() == 1 &&
              std::all_of(terms.begin(), terms.end(),
                          [](const Term& term) { return !term.add || term.add.narrow != nullptr; });
    const ErrorKernels& kernels = FM_PICK(kErrors);
    // A register takes elements of several rows at a time, where that leaves few sums or there are
    // many rows.
    const int64_t most = narrow_ ? kMostPeriod : kErrorBlock;
    period_ = columns == 1 ? kernels.period : columns * kernels.lanes;
    if (period_ > (rows < 8 * kernels.lanes ? kErrorBlock : kMostPeriod)) {
      period_ = columns;
      block_ = std::min(most, columns);
    } else {
      block_ = period_ > most ? most : most / period_ * period_;
    }
  }

  int64_t period() const { return period_; }

  // Adds the elements [begin, end), whose first one begins a row (or lies in the only column that
  // they belong to), to one row of `period` sums per term.
  void add(int64_t begin, int64_t end, std::span<const Term> terms, double* sums) const {
    if (narrow_) {
      add_floats(begin, end, terms, sums);
      return;
    }
    alignas(64) double preds[kErrorBlock];
    alignas(64) double target[kErrorBlock];
    alignas(64) double weight[kErrorBlock];
    alignas(64) double error[kErrorBlock];
    for (int64_t first = begin; first < end;) {
      const int64_t slot = (first - begin) % period_;
      const int64_t count = count_from(slot, first, end);
      Pairs pairs{preds, target, nullptr, nullptr, count, sums_quotients_};
      read(first, count, preds, target, pairs);
      if (differences_ && exceed_exact_(preds, target, count)) {
        read_differences(first, count, error);
        pairs.error = error;
      }
      if (weights_) {
        read_weights(first, count, weight);
      }
      double* own = sums + slot;
      for (const Term& term : terms) {
        if (term.add) {
          pairs.weight = weights_ && term.weighted ? weight : nullptr;
          term.add.wide(pairs, term.parameters, period_, own);
        }
        own += period_;
      }
      first += count;
    }
  }

 private:
  // How many elements are added at a time from `first` on, which goes to `slot` of a period.
  int64_t count_from(int64_t slot, int64_t first, int64_t end) const {
    return std::min({block_, end - first, slot > 0 ? period_ - slot : block_});
  }

  // The same of floats that lie in a row.
  void add_floats(int64_t begin, int64_t end, std::span<const Term> terms, double* sums) const {
    const auto* preds = static_cast<const float*>(preds_.data);
    const auto* target = static_cast<const float*>(target_.data);
    for (int64_t first = begin; first < end;) {
      const int64_t slot = (first - begin) % period_;
      const int64_t count = count_from(slot, first, end);
      const PairsOf<float> pairs{preds + first, target + first, nullptr,
                                 nullptr,       count,          sums_quotients_};
      double* own = sums + slot;
      for (const Term& term : terms) {
        if (term.add) {
          term.add.narrow(pairs, term.parameters, period_, own);
        }
        own += period_;
      }
      first += count;
    }
  }

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

  // Doubles that lie in a row are left where they are.
  void read(int64_t first, int64_t count, double* preds, double* target, Pairs& pairs) const {
    int64_t done = 0;
    geometry_.for_runs(first, first + count, [&](int64_t length, int64_t from, int64_t to) {
      if (length == count && preds_.is_double && geometry_.inner_a() == 1) {
        pairs.preds = static_cast<const double*>(preds_.data) + from;
      } else {
        preds_.load(preds_.data, from, geometry_.inner_a(), length, preds + done);
      }
      if (length == count && target_.is_double && geometry_.inner_b() == 1) {
        pairs.target = static_cast<const double*>(target_.data) + to;
      } else {
        target_.load(target_.data, to, geometry_.inner_b(), length, target + done);
      }
      done += length;
    });
  }

  void read_differences(int64_t first, int64_t count, double* error) const {
    geometry_.for_runs(first, first + count, [&](int64_t length, int64_t from, int64_t to) {
      differences_->read(from, geometry_.inner_a(), to, geometry_.inner_b(), length, error);
      error += length;
    });
  }

  // Elements of columns that are walked one after the other begin anew with each of them.
  void read_weights(int64_t first, int64_t count, double* weight) const {
    const int64_t begin = per_row_ == 1 ? first % rows_ : first;
    weights_.read_or_nan(begin, begin + count, per_row_, weight);
  }

  Source preds_;
  Source target_;
  std::optional<Differences> differences_;
  bool (*exceed_exact_)(const double* preds, const double* target,
                        int64_t count) = FM_PICK(kErrors).exceed_exact;
  Geometry geometry_;
  int64_t rows_;
  int64_t per_row_;
  int64_t period_;
  int64_t block_;
  bool sums_quotients_;
  bool narrow_;  // floats in a row, without weights, of terms that take them
  Weights weights_;
};

void check_inputs(const Tensor& preds, const Tensor& target, int64_t columns) {
  require(preds.dim() == target.dim(), "`preds` and `target` must have one shape.");
  for (const ScalarType type : {preds.scalar_type(), target.scalar_type()}) {
    require(is_score_type(type) || is_label_type(type),
            "`preds` and `target` must be real tensors.");
  }
  for (int64_t axis = 0; axis < preds.dim(); ++axis) {
    require(preds.size(axis) == target.size(axis), "`preds` and `target` must have one shape.");
  }
  if (columns != 1) {
    require(columns > 0 && (preds.dim() == 1 || preds.dim() == 2), "several outputs need [N, D].");
    require(preds.dim() == 1 || preds.size(1) == 1 || preds.size(1) == columns,
            "the outputs do not fit the state.");
  }
}

int64_t row_count(const Tensor& preds) { return preds.dim() == 0 ? 1 : preds.size(0); }

// Sums for the states of one or more updates; a term that several ask for is added up once.
class ErrorSums final : public Job {
 public:
  ErrorSums(Tensor& state, const Inputs& inputs, const Weights& weights,
            std::span<const Term> wanted)
      : columns_(state.size(0)),
        rows_(row_count(inputs.preds)),
        elements_(columns_ == 1 ? inputs.preds.numel() : rows_ * columns_),
        apart_(by_column(inputs.preds, inputs.target, columns_)),
        inputs_(inputs),
        weights_(weights) {
    require(state.size(1) == static_cast<int64_t>(wanted.size()),
            "the state of error_sums_ does not fit its terms.");
    add_destination(state_data<double>(state), wanted);
  }

  // Errors of as many outputs are one job: every pair is converted once.
  bool take_over(Job& other) override {
    const auto* errors = dynamic_cast<ErrorSums*>(&other);
    if (errors == nullptr || errors->columns_ != columns_) {
      return false;
    }
    add_destination(errors->destinations_.front().state, errors->terms_);
    return true;
  }

  // Units are rows, so that each part begins with the first column.
  Extent extent() const override {
    return {elements_ / columns_, columns_ * 8, columns_ * width() * 8, false};
  }

  void open(const Partition& partition) override {
    errors_.emplace(inputs_, rows_, columns_, apart_, weights_, terms_);
    lanes_ = Scratch<double>(partition.parts, walks() * width() * errors_->period());
    sums_ = Scratch<double>(partition.parts, columns_ * width());
  }

  void add(int64_t part, int64_t begin, int64_t end) override {
    if (!apart_) {
      errors_->add(begin * columns_, end * columns_, terms_, lanes_.sums(part));
      return;
    }
    for (int64_t column = 0; column < columns_; ++column) {
      errors_->add(column * rows_ + begin, column * rows_ + end, terms_,
                   lanes_.sums(part) + column * width() * errors_->period());
    }
  }

  void check() override {
    for (int64_t part = 0; part < sums_.parts(); ++part) {
      fold(lanes_.sums(part), sums_.sums(part));
    }
    sums_.combine();
    for (int64_t k = 0; k < width(); ++k) {
      for (int64_t column = 0; column < columns_; ++column) {
        double& sum = sums_.sums(0)[column * width() + k];
        if (terms_[k].column == kOutsideDomain && sum > 0.0) {
          throw std::runtime_error(
              "error_sums_: `preds` or `target` lie outside the domain of the deviance.");
        }
        if (terms_[k].column == kWeight && !weights_) {
          sum = static_cast<double>(elements_ / columns_);
        }
      }
    }
  }

  void commit() override {
    for (const Destination& to : destinations_) {
      double* sum = to.state;
      for (int64_t column = 0; column < columns_; ++column) {
        for (const int64_t k : to.terms) {
          *sum++ += sums_.sums(0)[column * width() + k];
        }
      }
    }
  }

 private:
  // A state, and which terms its columns are.
  struct Destination {
    double* state;
    std::vector<int64_t> terms;
  };

  int64_t width() const { return static_cast<int64_t>(terms_.size()); }
  // Columns that are walked one after the other have lanes of their own.
  int64_t walks() const { return apart_ ? columns_ : 1; }

  void add_destination(double* state, std::span<const Term> wanted) {
    Destination to{state, {}};
    to.terms.reserve(wanted.size());
    for (const Term& term : wanted) {
      const auto place = std::find(terms_.begin(), terms_.end(), term);
      to.terms.push_back(place - terms_.begin());
      if (place == terms_.end()) {
        terms_.push_back(term);
      }
    }
    destinations_.push_back(std::move(to));
  }

  // Adds up the lanes of each column; those that are walked together take turns in a period.
  void fold(const double* lanes, double* sums) const {
    const int64_t period = errors_->period();
    const int64_t together = columns_ / walks();
    for (int64_t column = 0; column < columns_; ++column) {
      const double* own = lanes + column / together * width() * period + column % together;
      for (int64_t k = 0; k < width(); ++k, own += period) {
        double& sum = sums[column * width() + k];
        double total = sum;
        for (int64_t i = 0; i < period; i += together) {
          total += own[i];
        }
        sum = total;
      }
    }
  }

  int64_t columns_;
  int64_t rows_;
  int64_t elements_;
  bool apart_;
  Inputs inputs_;
  Weights weights_;
  std::optional<Errors> errors_;  // none until the job runs
  std::vector<Term> terms_;
  std::vector<Destination> destinations_;
  Scratch<double> lanes_;
  Scratch<double> sums_;
};

std::unique_ptr<Job> error_sums_job(Tensor& state, const Inputs& inputs, int64_t terms, double p,
                                    double power) {
  require(terms > 0 && terms < (int64_t{1} << kErrorTerms), "`terms` holds an unknown term.");
  require((terms >> kDeviance & 1) == 0 || power <= 0.0 || power >= 1.0 || std::isnan(power),
          "`power` must not lie between 0 and 1.");
  require(state.dim() == 2 && state.scalar_type() == ScalarType::Double,
          "the state of error_sums_ must be float64 [D, K].");
  check_inputs(inputs.preds, inputs.target, state.size(0));
  const Weights weights(inputs.weight, row_count(inputs.preds), state);
  return std::make_unique<ErrorSums>(state, inputs, weights,
                                     terms_of(terms, {p, power}, static_cast<bool>(weights)));
}

void error_sums_cpu(Tensor state, const Tensor& preds, const Tensor& target,
                    const OptionalTensor& weight, int64_t terms, double p, double power) {
  run_job(*error_sums_job(state, {preds, target, weight}, terms, p, power));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<error_sums_cpu>(library, "error_sums_");
  fuse<error_sums_job>("error_sums_");
}

}  // namespace fastmetrics
