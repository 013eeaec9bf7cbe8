// confusion_ (multiclass) and label_confusion_ (one two-by-two table per label or group).
#include "classes.h"
#include "fusible.h"
#include "op.h"
#include "thresholds.h"

namespace fastmetrics {
namespace {

constexpr const char* kLabelOp = "label_confusion_";

// A batch with fewer positions than the matrix has cells: note the cells, then add them one by one.
template <class Sum>
class ListedPairs final : public LabelJob {
 public:
  ListedPairs(const ClassReader& reader, const Weights& weights, Tensor& state, Tensor& events,
              bool validate)
      : LabelJob(events, validate),
        reader_(reader),
        weights_(weights),
        num_classes_(state.size(0)),
        state_(state_data<Sum>(state)) {}

  Extent extent() const override {
    return {reader_.positions(), reader_.bytes_per_position(), 0, true};
  }

  void open(const Partition& partition) override {
    list_.resize(reader_.positions());
    amounts_.resize(weights_ ? reader_.positions() : 0);
    scratch_ = Scratch<Sum>(partition.parts, 0);
  }

  void add(int64_t part, int64_t begin, int64_t end) override {
    Notes notes;
    ClassBlock block;
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t last = std::min(end, first + kBlock);
      reader_.read(first, last, block, notes);
      if (weights_) {
        notes.weights += weights_.read(first, last, reader_.depth(), amounts_.data() + first);
      }
      for (int64_t i = 0; i < last - first; ++i) {
        list_[first + i] =
            block.target[i] >= 0 ? block.target[i] * num_classes_ + block.pred[i] : kNowhere;
      }
    }
    scratch_.notes(part) += notes;
  }

 protected:
  Notes combine() override { return scratch_.combine(); }
  void raise_bad_label() const override { reader_.raise_bad_label(); }

  void add_to_state() override {
    for (int64_t position = 0; position < reader_.positions(); ++position) {
      if (list_[position] != kNowhere) {
        state_[list_[position]] += weights_ ? static_cast<Sum>(amounts_[position]) : Sum{1};
      }
    }
  }

 private:
  static constexpr int64_t kNowhere = -1;

  ClassReader reader_;
  Weights weights_;
  int64_t num_classes_;
  Sum* state_;
  std::vector<int64_t> list_;
  std::vector<double> amounts_;  // empty without weights
  Scratch<Sum> scratch_;
};

template <class Sum, class StateSum>
class PairMatrix final : public LabelJob {
 public:
  PairMatrix(const ClassReader& reader, const Weights& weights, Tensor& state, Tensor& events,
             bool validate)
      : LabelJob(events, validate),
        reader_(reader),
        weights_(weights),
        num_classes_(state.size(0)),
        state_(state_data<StateSum>(state)) {}

  Extent extent() const override {
    return {reader_.positions(), reader_.bytes_per_position(),
            cells() * static_cast<int64_t>(sizeof(Sum)), !weights_};
  }

  void open(const Partition& partition) override {
    scratch_ = Scratch<Sum>(partition.parts, cells() + 1);
  }

  void add(int64_t part, int64_t begin, int64_t end) override {
    scratch_.notes(part) +=
        tally_cells(reader_, weights_, num_classes_, begin, end, scratch_.sums(part));
  }

 protected:
  Notes combine() override { return scratch_.combine(); }
  void raise_bad_label() const override { reader_.raise_bad_label(); }

  void add_to_state() override {
    for (int64_t i = 0; i < cells(); ++i) {
      state_[i] += static_cast<StateSum>(scratch_.sums(0)[i]);
    }
  }

 private:
  int64_t cells() const { return num_classes_ * num_classes_; }

  ClassReader reader_;
  Weights weights_;
  int64_t num_classes_;
  StateSum* state_;
  Scratch<Sum> scratch_;
};

std::unique_ptr<Job> confusion_job(Tensor& state, Tensor& events, const Inputs& inputs,
                                   OptionalInt ignore_index, bool validate) {
  require(state.dim() == 2 && state.size(1) == state.size(0),
          "the state of confusion_ must be [C, C].");
  const int64_t num_classes = state.size(0);
  const ClassReader reader("confusion_", inputs.preds, inputs.target, num_classes, 1, ignore_index);
  const Weights weights(inputs.weight, reader.num_samples(), state);
  return with_sum_types(state, weights, [&](auto sum, auto state_sum) -> std::unique_ptr<Job> {
    using Sum = decltype(sum);
    using StateSum = decltype(state_sum);
    if (reader.positions() < num_classes * num_classes) {
      return std::make_unique<ListedPairs<StateSum>>(reader, weights, state, events, validate);
    }
    return std::make_unique<PairMatrix<Sum, StateSum>>(reader, weights, state, events, validate);
  });
}

void confusion_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                   const OptionalTensor& weight, OptionalInt ignore_index, bool validate) {
  run_job(*confusion_job(state, events, {preds, target, weight}, ignore_index, validate));
}

// To which table an element belongs: the label at axis 1, the group of its sample, or the only one.
struct TableOf {
  int64_t tables;
  int64_t sample_size;  // elements per sample
  int64_t label_size;   // elements per label of a sample
  std::optional<LabelReader> groups;
  int64_t group_stride = 1;

  TableOf(const Tensor& target, const OptionalTensor& group_labels, int64_t tables)
      : tables(tables), sample_size(target.numel() / std::max<int64_t>(1, target.size(0))) {
    label_size = target.numel();
    if (group_labels.has_value()) {
      require(group_labels->dim() == 1 && group_labels->size(0) == target.size(0),
              "`groups` must have one entry per sample.");
      groups.emplace(*group_labels, LabelRule{tables, std::nullopt});
      group_stride = group_labels->stride(0);
    } else if (tables > 1) {
      require(target.dim() > 1 && target.size(1) == tables,
              "the label axis does not fit the state.");
      label_size = sample_size / tables;
    }
  }

  // The table of element i, and until where it stays the same.
  int64_t at(int64_t i, int64_t& until) const {
    if (groups.has_value()) {
      const int64_t sample = i / sample_size;
      until = (sample + 1) * sample_size;
      int32_t code;
      groups->read(sample * group_stride, 1, 1, &code);
      return code;
    }
    const int64_t label = i / label_size;
    until = (label + 1) * label_size;
    return label % tables;
  }
};

LabelArgument group_argument(const Tensor& groups, int64_t tables) {
  return {"groups", groups, {tables, std::nullopt}};
}

// Adds the decisions of elements [begin, end) that are samples with a group each.
template <class Sum>
void tally_groups(const uint8_t* decisions, const TableOf& table_of, const double* amounts,
                  int64_t begin, int64_t end, Sum* slots, Notes& notes) {
  std::array<int32_t, kDecisions> groups;
  const int64_t stride = table_of.group_stride;
  notes.bad += table_of.groups->read(begin * stride, stride, end - begin, groups.data());
  for (int64_t i = 0; i < end - begin; ++i) {
    if (groups[i] >= 0) {
      slots[groups[i] * kDecisionSlots + decisions[i]] +=
          amounts == nullptr ? Sum{1} : static_cast<Sum>(amounts[i]);
    }
  }
}

// Below this length a run of one table is counted element by element.
constexpr int64_t kShortRun = 64;

// Adds the decisions of elements [begin, end) to `slots`, kDecisionSlots for each table. Only the
// first kDecisionKinds slots of a table mean something. `amounts` is null if each counts once.
template <class Sum>
void tally_block(const uint8_t* decisions, const TableOf& table_of, const double* amounts,
                 int64_t begin, int64_t end, Sum* slots, Notes& notes) {
  if (table_of.groups.has_value() && table_of.sample_size == 1) {
    tally_groups(decisions, table_of, amounts, begin, end, slots, notes);
    return;
  }
  const bool label_by_element =
      !table_of.groups.has_value() && table_of.label_size == 1 && table_of.tables > 1;
  if (label_by_element && amounts == nullptr) {
    Sum* table = slots + begin % table_of.tables * kDecisionSlots;
    Sum* const last_table = slots + table_of.tables * kDecisionSlots;
    for (int64_t i = 0; i < end - begin; ++i) {
      table[decisions[i]] += 1;
      table += kDecisionSlots;
      table = table == last_table ? slots : table;
    }
    return;
  }
  for (int64_t i = begin; i < end;) {
    int64_t until;
    const int64_t table = table_of.at(i, until);
    until = std::min(until, end);
    const uint8_t* run = decisions + (i - begin);
    Sum* sums = slots + table * kDecisionSlots;
    if (table < 0) {
      notes.bad += until - i;
    } else if (amounts != nullptr) {
      for (int64_t j = i; j < until; ++j) {
        sums[run[j - i]] += static_cast<Sum>(amounts[j - begin]);
      }
    } else if (until - i < kShortRun) {
      for (int64_t j = 0; j < until - i; ++j) {
        sums[run[j]] += 1;
      }
    } else {
      std::array<int64_t, kDecisionKinds> counts{};
      count_decisions(run, until - i, counts.data());
      for (int64_t kind = 0; kind < kDecisionKinds; ++kind) {
        sums[kind] += static_cast<Sum>(counts[kind]);
      }
    }
    i = until;
  }
}

template <class Sum>
void tally_each(const ThresholdReader& reader, const TableOf& table_of, const Weights& weights,
                int64_t begin, int64_t end, Sum* slots, Notes& notes) {
  std::array<uint8_t, kDecisions> decisions;
  std::array<double, kDecisions> amounts;
  for (int64_t first = begin; first < end; first += kDecisions) {
    const int64_t last = std::min(end, first + kDecisions);
    reader.read(first, last, decisions.data(), notes);
    if (weights) {
      notes.weights += weights.read(first, last, table_of.sample_size, amounts.data());
    }
    tally_block(decisions.data(), table_of, weights ? amounts.data() : nullptr, first, last, slots,
                notes);
  }
}

// Masks, of which a table has many elements in a row, are counted without deciding each.
template <class Sum>
void tally_decisions(const ThresholdReader& reader, const TableOf& table_of, const Weights& weights,
                     int64_t begin, int64_t end, Sum* slots, Notes& notes) {
  if (weights || table_of.groups.has_value() || table_of.label_size < kShortRun) {
    tally_each(reader, table_of, weights, begin, end, slots, notes);
    return;
  }
  while (begin < end) {
    int64_t until;
    const int64_t table = table_of.at(begin, until);
    until = std::min(until, end);
    std::array<int64_t, kDecisionKinds> counts{};
    if (!reader.count_masks(begin, until, counts.data())) {
      tally_each(reader, table_of, weights, begin, end, slots, notes);
      return;
    }
    for (int64_t kind = 0; kind < kDecisionKinds; ++kind) {
      slots[table * kDecisionSlots + kind] += static_cast<Sum>(counts[kind]);
    }
    begin = until;
  }
}

// Adds counted decisions to the tables [[tn, fp], [fn, tp]] of each reading.
template <class Sum, class StateSum>
void add_tables(const Sum* slots, int64_t tables, std::span<const Reading> readings, StateSum sign,
                StateSum* state) {
  for (const Reading reading : readings) {
    for (int64_t table = 0; table < tables; ++table) {
      for (int64_t kind = 0; kind < kDecisionKinds; ++kind) {
        state[(kind & kTarget) * 2 + positive(kind, reading)] +=
            sign * static_cast<StateSum>(slots[table * kDecisionSlots + kind]);
      }
      state += 4;
    }
  }
}

// Counts of each label or group over all samples.
template <class Sum, class StateSum>
class LabelTables final : public LabelJob {
 public:
  LabelTables(const ThresholdReader& reader, const TableOf& table_of, const Tensor* groups,
              const Weights& weights, std::span<const Reading> readings, Tensor& state,
              Tensor& events, bool validate)
      : LabelJob(events, validate, readings.size() == 2),
        reader_(reader),
        table_of_(table_of),
        groups_(groups),
        weights_(weights),
        readings_(readings),
        state_(state_data<StateSum>(state)) {}

  Extent extent() const override {
    return {reader_.elements(), reader_.bytes_per_element(),
            size() * static_cast<int64_t>(sizeof(Sum)), !weights_};
  }

  void open(const Partition& partition) override {
    scratch_ = Scratch<Sum>(partition.parts, size());
  }

  void add(int64_t part, int64_t begin, int64_t end) override {
    Notes notes;
    tally_decisions(reader_, table_of_, weights_, begin, end, scratch_.sums(part), notes);
    scratch_.notes(part) += notes;
  }

 protected:
  Notes combine() override { return scratch_.combine(); }

  void raise_bad_label() const override {
    if (groups_ != nullptr) {
      raise_if_bad(kLabelOp, group_argument(*groups_, table_of_.tables), std::nullopt);
    }
    reader_.raise_bad_label();
  }

  void add_to_state() override {
    add_tables(scratch_.sums(0), table_of_.tables, readings_, StateSum{1}, state_);
  }

 private:
  int64_t size() const { return table_of_.tables * kDecisionSlots; }

  ThresholdReader reader_;
  TableOf table_of_;
  const Tensor* groups_;
  Weights weights_;
  std::span<const Reading> readings_;
  StateSum* state_;
  Scratch<Sum> scratch_;
};

// One state row per sample, written while reading: where a label is bad, whole numbers are taken
// back. Sums of weights would not come back as they were, so their labels are checked first.
template <class Sum>
Notes count_samples(const ThresholdReader& reader, const TableOf& table_of, const Weights& weights,
                    std::span<const Reading> readings, bool validate, Sum* state) {
  constexpr bool kExact = std::is_integral_v<Sum>;
  if (validate && !kExact && reader.has_bad_label()) {
    reader.raise_bad_label();
  }
  const int64_t size = table_of.tables * kDecisionSlots;
  const int64_t row_size = static_cast<int64_t>(readings.size()) * table_of.tables * 4;
  const Partition partition(reader.elements() / table_of.sample_size,
                            table_of.sample_size * reader.bytes_per_element(), 0, true, 1);
  const auto count = [&](Sum sign) {
    Scratch<Sum> scratch(partition.parts, size);
    partition.run([&](int64_t part, int64_t begin, int64_t end) {
      Sum* kinds = scratch.sums(part);
      Notes found;
      for (int64_t sample = begin; sample < end; ++sample) {
        std::fill(kinds, kinds + size, Sum{0});
        tally_decisions(reader, table_of, weights, sample * table_of.sample_size,
                        (sample + 1) * table_of.sample_size, kinds, found);
        add_tables(kinds, table_of.tables, readings, sign, state + sample * row_size);
      }
      scratch.notes(part) = found;
    });
    return scratch.combine();
  };
  const Notes notes = count(Sum{1});
  if (validate && kExact && notes.bad > 0) {
    count(Sum{-1});
    reader.raise_bad_label();
  }
  return notes;
}

std::unique_ptr<Job> label_confusion_job(Tensor& state, Tensor& events, const Inputs& inputs,
                                         const OptionalTensor& groups, double threshold,
                                         bool logits, OptionalInt ignore_index, bool validate) {
  const ThresholdReader reader(kLabelOp, inputs.preds, inputs.target, threshold, ignore_index);
  require(state.dim() == 4 && state.size(2) == 2 && state.size(3) == 2,
          "the state of label_confusion_ must be [H, L, 2, 2].");
  const std::span<const Reading> readings = readings_of(state.size(0), logits);
  const Weights weights(inputs.weight, inputs.target.size(0), state);
  const TableOf table_of(inputs.target, groups, state.size(1));
  return with_sum_types(state, weights, [&](auto sum, auto state_sum) -> std::unique_ptr<Job> {
    return std::make_unique<LabelTables<decltype(sum), decltype(state_sum)>>(
        reader, table_of, groups.has_value() ? &*groups : nullptr, weights, readings, state, events,
        validate);
  });
}

void label_confusion_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                         const OptionalTensor& weight, const OptionalTensor& groups,
                         double threshold, bool logits, OptionalInt ignore_index, bool validate) {
  if (state.dim() != 5) {
    run_job(*label_confusion_job(state, events, {preds, target, weight}, groups, threshold, logits,
                                 ignore_index, validate));
    return;
  }
  const ThresholdReader reader(kLabelOp, preds, target, threshold, ignore_index);
  require(state.size(4) == 2 && state.size(3) == 2 && state.size(0) == target.size(0),
          "a state of label_confusion_ per sample must be [N, H, L, 2, 2].");
  const std::span<const Reading> readings = readings_of(state.size(1), logits);
  const Weights weights(weight, target.size(0), state);
  const TableOf table_of(target, groups, state.size(2));
  if (reader.elements() == 0) {
    return;
  }
  if (validate && groups.has_value()) {
    raise_if_bad(kLabelOp, group_argument(*groups, table_of.tables), std::nullopt);
  }
  int64_t* event_counts = events_data(events);
  with_sum_types(state, weights, [&](auto, auto state_sum) {
    using Sum = decltype(state_sum);
    const Notes notes =
        count_samples(reader, table_of, weights, readings, validate, state_data<Sum>(state));
    event_counts[kNan] += notes.nan;
    event_counts[kBadWeight] += notes.weights;
    event_counts[kOutside] += readings.size() == 2 ? notes.outside : 0;
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<confusion_cpu>(library, "confusion_");
  fuse<confusion_job>("confusion_");
  register_op<label_confusion_cpu>(library, "label_confusion_");
  fuse<label_confusion_job>("label_confusion_");
}

}  // namespace fastmetrics
