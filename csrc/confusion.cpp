// confusion_ (multiclass) and label_confusion_ (one two-by-two table per label or group).
#include "classes.h"
#include "thresholds.h"

namespace fastmetrics {
namespace {

// A batch with fewer positions than the matrix has cells: note the cells, then add them one by one.
template <class Sum>
Notes add_by_list(const ClassReader& reader, const Weights& weights, int64_t num_classes,
                  bool validate, Sum* state) {
  const Partition partition(reader.positions(), reader.bytes_per_position(), 0, true);
  const int64_t cells = num_classes * num_classes;
  std::vector<int64_t> list(reader.positions());
  Scratch<Sum> scratch(partition.parts, 0);
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    Notes notes;
    ClassBlock block;
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t last = std::min(end, first + kBlock);
      reader.read(first, last, block, notes);
      for (int64_t i = 0; i < last - first; ++i) {
        list[first + i] =
            block.target[i] >= 0 ? block.target[i] * num_classes + block.pred[i] : cells;
      }
    }
    scratch.notes(part) = notes;
  });
  const Notes notes = scratch.combine();
  if (notes.bad > 0 && validate) {
    reader.raise_bad_label();
  }
  for (int64_t position = 0; position < reader.positions(); ++position) {
    if (list[position] < cells) {
      state[list[position]] +=
          weights ? static_cast<Sum>(weights[position / reader.depth()]) : Sum{1};
    }
  }
  return notes;
}

template <class Sum, class StateSum>
Notes add_by_matrix(const ClassReader& reader, const Weights& weights, int64_t num_classes,
                    bool validate, StateSum* state) {
  const int64_t cells = num_classes * num_classes;
  const Partition partition(reader.positions(), reader.bytes_per_position(),
                            cells * static_cast<int64_t>(sizeof(Sum)), !weights);
  Scratch<Sum> scratch(partition.parts, cells + 1);
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    scratch.notes(part) = tally_cells(reader, weights, num_classes, begin, end, scratch.sums(part));
  });
  const Notes notes = scratch.combine();
  if (notes.bad > 0 && validate) {
    reader.raise_bad_label();
  }
  for (int64_t i = 0; i < cells; ++i) {
    state[i] += static_cast<StateSum>(scratch.sums(0)[i]);
  }
  return notes;
}

void confusion_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                   const std::optional<Tensor>& weight, std::optional<int64_t> ignore_index,
                   bool validate) {
  const int64_t num_classes = state.size(0);
  require(state.dim() == 2 && state.size(1) == num_classes,
          "the state of confusion_ must be [C, C].");
  const ClassReader reader("confusion_", preds, target, num_classes, 1, ignore_index);
  const Weights weights(weight, target.size(0), state);
  if (reader.positions() == 0) {
    return;
  }
  int64_t* event_counts = events_data(events);
  with_sum_types(state, weights, [&](auto sum, auto state_sum) {
    auto* data = state_data<decltype(state_sum)>(state);
    const bool sparse = reader.positions() < num_classes * num_classes;
    const Notes notes =
        sparse ? add_by_list(reader, weights, num_classes, validate, data)
               : add_by_matrix<decltype(sum)>(reader, weights, num_classes, validate, data);
    event_counts[kNan] += notes.nan;
  });
}

// To which table an element belongs: the label at axis 1, the group of its sample, or the only one.
struct TableOf {
  int64_t tables;
  int64_t sample_size;  // elements per sample
  int64_t label_size;   // elements per label of a sample
  const LabelReader* groups = nullptr;
  int64_t group_stride = 1;

  // The table of element i, and until where it stays the same.
  int64_t at(int64_t i, int64_t& until) const {
    if (groups != nullptr) {
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

// Below this length a run of one table is counted element by element.
inline constexpr int64_t kShortRun = 64;

// Adds the decisions of elements [begin, end) to `slots`, kDecisionSlots for each table. Only the
// first kDecisionKinds slots of a table mean something.
template <class Sum>
void tally_block(const uint8_t* decisions, const TableOf& table_of, const Weights& weights,
                 int64_t begin, int64_t end, Sum* slots, Notes& notes) {
  const bool label_by_element =
      table_of.groups == nullptr && table_of.label_size == 1 && table_of.tables > 1;
  if (label_by_element && !weights) {
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
    } else if (weights) {
      for (int64_t j = i; j < until; ++j) {
        sums[run[j - i]] += static_cast<Sum>(weights[j / table_of.sample_size]);
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
void tally_decisions(const ThresholdReader& reader, const TableOf& table_of, const Weights& weights,
                     int64_t begin, int64_t end, Sum* slots, Notes& notes) {
  std::array<uint8_t, kDecisions> decisions;
  for (int64_t first = begin; first < end; first += kDecisions) {
    const int64_t last = std::min(end, first + kDecisions);
    reader.read(first, last, decisions.data(), notes);
    tally_block(decisions.data(), table_of, weights, first, last, slots, notes);
  }
}

// Adds counted decisions to the tables [[tn, fp], [fn, tp]] of each reading.
template <class Sum, class StateSum>
void add_tables(const Sum* slots, int64_t tables, std::span<const Reading> readings,
                StateSum* state) {
  for (const Reading reading : readings) {
    for (int64_t table = 0; table < tables; ++table) {
      for (int64_t kind = 0; kind < kDecisionKinds; ++kind) {
        state[(kind & kTarget) * 2 + positive(kind, reading)] +=
            static_cast<StateSum>(slots[table * kDecisionSlots + kind]);
      }
      state += 4;
    }
  }
}

void label_confusion_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                         const std::optional<Tensor>& weight, const std::optional<Tensor>& groups,
                         double threshold, bool logits, std::optional<int64_t> ignore_index,
                         bool validate) {
  const ThresholdReader reader("label_confusion_", preds, target, threshold, ignore_index);
  const bool samplewise = state.dim() == 5;
  const int64_t num_samples = target.size(0);
  const int64_t num_readings = state.size(-4);
  const int64_t tables = state.size(-3);
  require(state.size(-1) == 2 && state.size(-2) == 2 &&
              (!samplewise || (state.size(0) == num_samples && !groups.has_value())),
          "the state of label_confusion_ must be [H, L, 2, 2], or one of them per sample.");
  const std::span<const Reading> readings = readings_of(num_readings, logits);

  const Weights weights(weight, num_samples, state);
  std::optional<LabelReader> group_labels;
  if (groups.has_value()) {
    require(groups->dim() == 1 && groups->size(0) == num_samples,
            "`groups` must have one entry per sample.");
    group_labels.emplace(*groups, LabelRule{tables, std::nullopt});
  } else if (tables > 1) {
    require(target.dim() > 1 && target.size(1) == tables, "the label axis does not fit the state.");
  }
  if (reader.elements() == 0) {
    return;
  }
  TableOf table_of{tables, reader.elements() / num_samples, reader.elements()};
  if (groups.has_value()) {
    table_of.groups = &*group_labels;
    table_of.group_stride = groups->stride(0);
  } else if (tables > 1) {
    table_of.label_size = table_of.sample_size / tables;
  }
  const auto raise = [&] {
    if (groups.has_value()) {
      const LabelArgument argument{"groups", *groups, {tables, std::nullopt}};
      raise_if_bad("label_confusion_", argument, std::nullopt);
    }
    reader.raise_bad_label();
  };

  int64_t* event_counts = events_data(events);
  with_sum_types(state, weights, [&](auto sum, auto state_sum) {
    using Sum = decltype(sum);
    auto* data = state_data<decltype(state_sum)>(state);
    const int64_t size = tables * kDecisionSlots;
    Notes notes;
    if (samplewise) {
      // Rows are written while reading, so the labels are checked first.
      if (validate && reader.has_bad_label()) {
        reader.raise_bad_label();
      }
      const Partition partition(num_samples, table_of.sample_size * reader.bytes_per_element(), 0,
                                true, 1);
      Scratch<Sum> scratch(partition.parts, size);
      partition.run([&](int64_t part, int64_t begin, int64_t end) {
        Sum* kinds = scratch.sums(part);
        Notes found;
        for (int64_t sample = begin; sample < end; ++sample) {
          std::fill(kinds, kinds + size, Sum{0});
          tally_decisions(reader, table_of, weights, sample * table_of.sample_size,
                          (sample + 1) * table_of.sample_size, kinds, found);
          add_tables(kinds, tables, readings, data + sample * num_readings * tables * 4);
        }
        scratch.notes(part) = found;
      });
      for (int64_t part = 0; part < partition.parts; ++part) {
        notes += scratch.notes(part);
      }
    } else {
      const Partition partition(reader.elements(), reader.bytes_per_element(),
                                size * static_cast<int64_t>(sizeof(Sum)), !weights);
      Scratch<Sum> scratch(partition.parts, size);
      partition.run([&](int64_t part, int64_t begin, int64_t end) {
        Notes found;
        tally_decisions(reader, table_of, weights, begin, end, scratch.sums(part), found);
        scratch.notes(part) = found;
      });
      notes = scratch.combine();
      if (notes.bad > 0 && validate) {
        raise();
      }
      add_tables(scratch.sums(0), tables, readings, data);
    }
    event_counts[kNan] += notes.nan;
    if (num_readings == 2) {
      event_counts[kOutside] += notes.outside;
    }
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  library.impl("confusion_", TORCH_BOX(&confusion_cpu));
  library.impl("label_confusion_", TORCH_BOX(&label_confusion_cpu));
}

}  // namespace fastmetrics
