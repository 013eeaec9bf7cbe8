// stat_scores_: per-class counts (tp, fp, tn, fn).
#include "classes.h"
#include "fusible.h"
#include "op.h"

namespace fastmetrics {
namespace {

constexpr const char* kOp = "stat_scores_";

enum Column : int64_t { kTp = 0, kFp = 1, kTn = 2, kFn = 3 };

// Rows in front of the tallies, where ignored and bad positions go.
constexpr int64_t kSpareRows = 2;

template <class Sum, class Amount>
void tally(const ClassBlock& block, int64_t count, Amount amount, Sum* sums) {
  std::array<int32_t, kBlock> target_places;
  std::array<int32_t, kBlock> pred_places;
  pair_kernels().tally_places(block.target.data(), block.pred.data(), count, target_places.data(),
                              pred_places.data());
  for (int64_t i = 0; i < count; ++i) {
    const Sum added = amount(i);
    sums[target_places[i]] += added;
    sums[pred_places[i]] += added;
  }
}

// Few classes: one increment per position in a small matrix, from which the tallies follow.
constexpr int64_t kSmallMatrix = 128;

template <class Sum>
void tally_matrix(const Sum* matrix, int64_t num_classes, Sum* sums) {
  for (int64_t target = 0; target < num_classes; ++target) {
    for (int64_t pred = 0; pred < num_classes; ++pred) {
      const Sum found = matrix[target * num_classes + pred];
      sums[target * kClassTallies + (pred == target ? kHit : kMissed)] += found;
      sums[pred * kClassTallies + kCalled] += found;
    }
  }
}

// Adds the tallies of one row of classes to a state row of `columns` classes (all, or 1 for their
// sums).
template <class Sum, class StateSum>
void add_tallies(const Sum* sums, int64_t num_classes, int64_t columns, StateSum factor,
                 StateSum* state) {
  Sum targets{0};
  Sum predicted{0};
  for (int64_t c = 0; c < num_classes; ++c) {
    targets += sums[c * kClassTallies + kMissed] + sums[c * kClassTallies + kHit];
    predicted += sums[c * kClassTallies + kCalled];
  }
  for (int64_t c = 0; c < num_classes; ++c) {
    const Sum* row = sums + c * kClassTallies;
    StateSum* out = state + (columns == 1 ? 0 : c) * 4;
    const Sum fp = row[kCalled] - row[kHit];
    const Sum fn = row[kMissed];
    out[kTp] += factor * static_cast<StateSum>(row[kHit]);
    out[kFp] += factor * static_cast<StateSum>(fp);
    out[kFn] += factor * static_cast<StateSum>(fn);
    // Weighted sums are rounded: this way tn is exactly 0 where every prediction, or every target,
    // is this class.
    const Sum tn = fn == Sum{0} ? predicted - row[kCalled] : targets - (fn + row[kHit]) - fp;
    out[kTn] += factor * static_cast<StateSum>(tn);
  }
}

// Counts of each class over all samples.
template <class Sum, class StateSum>
class ClassCounts final : public LabelJob {
 public:
  ClassCounts(const ClassReader& reader, const Weights& weights, int64_t num_classes, Tensor& state,
              Tensor& events, bool validate)
      : LabelJob(events, validate),
        reader_(reader),
        weights_(weights),
        num_classes_(num_classes),
        columns_(state.size(0)),
        state_(state_data<StateSum>(state)) {}

  Extent extent() const override {
    return {reader_.positions(), reader_.bytes_per_position(),
            size() * static_cast<int64_t>(sizeof(Sum)), !weights_};
  }

  void open(const Partition& partition) override {
    const int64_t cells = num_classes_ * num_classes_;
    as_matrix_ = !weights_ && num_classes_ <= kSmallMatrix && partition.size_of(0) >= 4 * cells;
    scratch_ = Scratch<Sum>(partition.parts, as_matrix_ ? cells + 1 : size());
  }

  void add(int64_t part, int64_t begin, int64_t end) override {
    Sum* sums = scratch_.sums(part);
    if (as_matrix_) {
      scratch_.notes(part) += tally_cells(reader_, weights_, num_classes_, begin, end, sums);
      return;
    }
    Notes notes;
    ClassBlock block;
    std::array<double, kBlock> amounts;
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t last = std::min(end, first + kBlock);
      reader_.read(first, last, block, notes);
      if (weights_) {
        notes.weights += weights_.read(first, last, reader_.depth(), amounts.data());
        const auto amount = [&](int64_t i) { return static_cast<Sum>(amounts[i]); };
        tally(block, last - first, amount, sums + kSpare);
      } else {
        tally(block, last - first, [](int64_t) { return Sum{1}; }, sums + kSpare);
      }
    }
    scratch_.notes(part) += notes;
  }

 protected:
  Notes combine() override { return scratch_.combine(); }
  void raise_bad_label() const override { reader_.raise_bad_label(); }

  void add_to_state() override {
    if (!as_matrix_) {
      add_tallies(scratch_.sums(0) + kSpare, num_classes_, columns_, StateSum{1}, state_);
      return;
    }
    std::vector<Sum> sums(num_classes_ * kClassTallies);
    tally_matrix(scratch_.sums(0), num_classes_, sums.data());
    add_tallies(sums.data(), num_classes_, columns_, StateSum{1}, state_);
  }

 private:
  static constexpr int64_t kSpare = kSpareRows * kClassTallies;

  int64_t size() const { return num_classes_ * kClassTallies + kSpare; }

  ClassReader reader_;
  Weights weights_;
  int64_t num_classes_;
  int64_t columns_;
  StateSum* state_;
  bool as_matrix_ = false;
  Scratch<Sum> scratch_;
};

// Without a known number of classes only hits and misses can be told.
template <class Sum, class StateSum>
class HitCounts final : public LabelJob {
 public:
  HitCounts(const ClassReader& reader, const Weights& weights, Tensor& state, Tensor& events,
            bool validate)
      : LabelJob(events, validate),
        reader_(reader),
        weights_(weights),
        state_(state_data<StateSum>(state)) {}

  Extent extent() const override {
    return {reader_.positions(), reader_.bytes_per_position(), 2 * sizeof(Sum), !weights_};
  }

  void open(const Partition& partition) override { scratch_ = Scratch<Sum>(partition.parts, 2); }

  void add(int64_t part, int64_t begin, int64_t end) override {
    Notes notes;
    ClassBlock block;
    std::array<double, kBlock> amounts;
    Sum hits{0};
    Sum misses{0};
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t last = std::min(end, first + kBlock);
      reader_.read(first, last, block, notes);
      if (weights_) {
        notes.weights += weights_.read(first, last, reader_.depth(), amounts.data());
      }
      for (int64_t i = 0; i < last - first; ++i) {
        if (block.target[i] >= 0) {
          const Sum amount = weights_ ? static_cast<Sum>(amounts[i]) : Sum{1};
          (block.pred[i] == block.target[i] ? hits : misses) += amount;
        }
      }
    }
    scratch_.sums(part)[0] += hits;
    scratch_.sums(part)[1] += misses;
    scratch_.notes(part) += notes;
  }

 protected:
  Notes combine() override { return scratch_.combine(); }
  void raise_bad_label() const override { reader_.raise_bad_label(); }

  void add_to_state() override {
    state_[kTp] += static_cast<StateSum>(scratch_.sums(0)[0]);
    state_[kFp] += static_cast<StateSum>(scratch_.sums(0)[1]);
    state_[kFn] += static_cast<StateSum>(scratch_.sums(0)[1]);
  }

 private:
  ClassReader reader_;
  Weights weights_;
  StateSum* state_;
  Scratch<Sum> scratch_;
};

// One state row per sample, written while reading: where a label is bad, whole numbers are taken
// back. Sums of weights would not come back as they were, so their labels are checked first.
template <class Sum>
void count_samples(const ClassReader& reader, const Weights& weights, int64_t num_classes,
                   int64_t columns, bool validate, Sum* state, int64_t* events) {
  constexpr bool kExact = std::is_integral_v<Sum>;
  if (validate && !kExact && reader.has_bad_label()) {
    reader.raise_bad_label();
  }
  const int64_t depth = reader.depth();
  const int64_t cells = num_classes * num_classes;
  const bool as_matrix = num_classes <= kSmallMatrix && depth >= 4 * cells;
  const int64_t size = (num_classes + kSpareRows) * kClassTallies;
  const Partition partition(reader.num_samples(), depth * reader.bytes_per_position(), 0, true, 1);
  Scratch<int64_t> scratch(partition.parts, size + (as_matrix ? cells + 1 : 0));
  const auto count = [&](Sum sign) {
    partition.run([&](int64_t part, int64_t begin, int64_t end) {
      int64_t* sums = scratch.sums(part) + kSpareRows * kClassTallies;
      Notes notes;
      ClassBlock block;
      WeightsInOrder amounts(weights, end, 1);
      for (int64_t sample = begin; sample < end; ++sample) {
        std::fill(sums, sums + num_classes * kClassTallies, 0);
        const int64_t stop = (sample + 1) * depth;
        if (as_matrix) {
          int64_t* matrix = scratch.sums(part) + size;
          std::fill(matrix, matrix + cells + 1, 0);
          notes += tally_cells(reader, Weights(), num_classes, sample * depth, stop, matrix);
          tally_matrix(matrix, num_classes, sums);
        } else {
          for (int64_t first = sample * depth; first < stop; first += kBlock) {
            const int64_t last = std::min(stop, first + kBlock);
            reader.read(first, last, block, notes);
            tally(block, last - first, [](int64_t) { return int64_t{1}; }, sums);
          }
        }
        const Sum factor = sign * static_cast<Sum>(amounts.at(sample, notes.weights));
        add_tallies(sums, num_classes, columns, factor, state + sample * columns * 4);
      }
      scratch.notes(part) = notes;
    });
  };
  count(Sum{1});
  int64_t bad = 0;
  for (int64_t part = 0; part < partition.parts; ++part) {
    bad += scratch.notes(part).bad;
  }
  if (validate && kExact && bad > 0) {
    count(Sum{-1});
    reader.raise_bad_label();
  }
  for (int64_t part = 0; part < partition.parts; ++part) {
    events[kNan] += scratch.notes(part).nan;
    events[kBadWeight] += scratch.notes(part).weights;
  }
}

std::unique_ptr<Job> stat_scores_job(Tensor& state, Tensor& events, const Inputs& inputs,
                                     int64_t num_classes, int64_t top_k, OptionalInt ignore_index,
                                     bool validate) {
  const ClassReader reader(kOp, inputs.preds, inputs.target, num_classes, top_k, ignore_index);
  require(state.dim() == 2 && state.size(1) == 4 &&
              (state.size(0) == 1 || state.size(0) == num_classes),
          "the state of stat_scores_ must be [C, 4] or [1, 4].");
  const Weights weights(inputs.weight, reader.num_samples(), state);
  return with_sum_types(state, weights, [&](auto sum, auto state_sum) -> std::unique_ptr<Job> {
    using Sum = decltype(sum);
    using StateSum = decltype(state_sum);
    if (num_classes == 0) {
      return std::make_unique<HitCounts<Sum, StateSum>>(reader, weights, state, events, validate);
    }
    return std::make_unique<ClassCounts<Sum, StateSum>>(reader, weights, num_classes, state, events,
                                                        validate);
  });
}

void stat_scores_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                     const OptionalTensor& weight, int64_t num_classes, int64_t top_k,
                     OptionalInt ignore_index, bool validate) {
  if (state.dim() != 3) {
    const Inputs inputs{preds, target, weight};
    run_job(*stat_scores_job(state, events, inputs, num_classes, top_k, ignore_index, validate));
    return;
  }
  const ClassReader reader(kOp, preds, target, num_classes, top_k, ignore_index);
  const int64_t columns = state.size(1);
  require(state.size(2) == 4 && (columns == 1 || columns == num_classes) &&
              state.size(0) == reader.num_samples(),
          "a state of stat_scores_ per sample must be [N, C, 4] or [N, 1, 4].");
  require(num_classes > 0, "counts per sample need the number of classes.");
  const Weights weights(weight, reader.num_samples(), state);
  if (reader.positions() == 0) {
    return;
  }
  int64_t* event_counts = events_data(events);
  with_sum_types(state, weights, [&](auto, auto state_sum) {
    count_samples(reader, weights, num_classes, columns, validate,
                  state_data<decltype(state_sum)>(state), event_counts);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<stat_scores_cpu>(library, "stat_scores_");
  fuse<stat_scores_job>("stat_scores_");
}

}  // namespace fastmetrics
