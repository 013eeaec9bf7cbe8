// stat_scores_: per-class counts (tp, fp, tn, fn).
#include "classes.h"

namespace fastmetrics {
namespace {

enum Column : int64_t { kTp = 0, kFp = 1, kTn = 2, kFn = 3 };

// Scratch per class while reading: hits, predictions, targets. The rest follows when the batch is
// done.
enum Tally : int64_t { kHits = 0, kPredicted = 1, kTargets = 2 };
inline constexpr int64_t kTallies = 3;
inline constexpr int64_t kSpareRows = 2;

// Adds a block to tallies that have two spare rows in front, where ignored and bad positions go.
template <class Sum, class Amount>
void tally(const ClassBlock& block, int64_t count, Amount amount, Sum* sums) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t target = block.target[i];
    const int64_t pred = target >= 0 ? block.pred[i] : target;
    const Sum added = amount(i);
    sums[target * kTallies + kTargets] += added;
    sums[pred * kTallies + kPredicted] += added;
    sums[target * kTallies + kHits] += pred == target ? added : Sum{0};
  }
}

// Few classes: one increment per position in a small matrix, from which the tallies follow.
inline constexpr int64_t kSmallMatrix = 128;

template <class Sum>
void tally_matrix(const Sum* matrix, int64_t num_classes, Sum* sums) {
  for (int64_t target = 0; target < num_classes; ++target) {
    for (int64_t pred = 0; pred < num_classes; ++pred) {
      const Sum found = matrix[target * num_classes + pred];
      sums[target * kTallies + kTargets] += found;
      sums[pred * kTallies + kPredicted] += found;
      sums[target * kTallies + kHits] += pred == target ? found : Sum{0};
    }
  }
}

// Adds the tallies of one row of classes to a state row of `columns` classes (all, or 1 for their
// sums).
template <class Sum, class StateSum>
void add_to_state(const Sum* sums, int64_t num_classes, int64_t columns, StateSum factor,
                  StateSum* state) {
  Sum targets{0};
  Sum predicted{0};
  for (int64_t c = 0; c < num_classes; ++c) {
    targets += sums[c * kTallies + kTargets];
    predicted += sums[c * kTallies + kPredicted];
  }
  for (int64_t c = 0; c < num_classes; ++c) {
    const Sum* row = sums + c * kTallies;
    StateSum* out = state + (columns == 1 ? 0 : c) * 4;
    const Sum fp = row[kPredicted] - row[kHits];
    const Sum fn = row[kTargets] - row[kHits];
    out[kTp] += factor * static_cast<StateSum>(row[kHits]);
    out[kFp] += factor * static_cast<StateSum>(fp);
    out[kFn] += factor * static_cast<StateSum>(fn);
    // Weighted sums are rounded: this way tn is exactly 0 where every prediction, or every target,
    // is this class.
    const Sum tn = fn == Sum{0} ? predicted - row[kPredicted] : targets - row[kTargets] - fp;
    out[kTn] += factor * static_cast<StateSum>(tn);
  }
}

template <class Sum>
Notes tally_part(const ClassReader& reader, const Weights& weights, int64_t num_classes,
                 int64_t begin, int64_t end, Sum* sums) {
  if (!weights && num_classes <= kSmallMatrix && end - begin >= 4 * num_classes * num_classes) {
    std::vector<Sum> matrix(num_classes * num_classes + 1);
    const Notes notes = tally_cells(reader, weights, num_classes, begin, end, matrix.data());
    tally_matrix(matrix.data(), num_classes, sums);
    return notes;
  }
  Notes notes;
  ClassBlock block;
  for (int64_t first = begin; first < end; first += kBlock) {
    const int64_t last = std::min(end, first + kBlock);
    reader.read(first, last, block, notes);
    if (weights) {
      tally(
          block, last - first,
          [&](int64_t i) { return static_cast<Sum>(weights[(first + i) / reader.depth()]); }, sums);
    } else {
      tally(block, last - first, [](int64_t) { return Sum{1}; }, sums);
    }
  }
  return notes;
}

template <class Sum, class StateSum>
void count_all(const ClassReader& reader, const Weights& weights, int64_t num_classes,
               int64_t columns, bool validate, StateSum* state, int64_t* events) {
  const int64_t size = (num_classes + kSpareRows) * kTallies;
  const Partition partition(reader.positions(), reader.bytes_per_position(),
                            size * static_cast<int64_t>(sizeof(Sum)), !weights);
  Scratch<Sum> scratch(partition.parts, size);
  const auto sums_of = [&](int64_t part) { return scratch.sums(part) + kSpareRows * kTallies; };
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    scratch.notes(part) = tally_part(reader, weights, num_classes, begin, end, sums_of(part));
  });
  const Notes notes = scratch.combine();
  if (notes.bad > 0 && validate) {
    reader.raise_bad_label();
  }
  events[kNan] += notes.nan;
  add_to_state(sums_of(0), num_classes, columns, StateSum{1}, state);
}

// Without a known number of classes only hits and misses can be told.
template <class Sum, class StateSum>
void count_hits(const ClassReader& reader, const Weights& weights, bool validate, StateSum* state,
                int64_t* events) {
  const Partition partition(reader.positions(), reader.bytes_per_position(), 16, !weights);
  Scratch<Sum> scratch(partition.parts, 2);
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    Notes notes;
    ClassBlock block;
    Sum hits{0};
    Sum misses{0};
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t last = std::min(end, first + kBlock);
      reader.read(first, last, block, notes);
      for (int64_t i = 0; i < last - first; ++i) {
        if (block.target[i] >= 0) {
          const Sum amount =
              weights ? static_cast<Sum>(weights[(first + i) / reader.depth()]) : Sum{1};
          (block.pred[i] == block.target[i] ? hits : misses) += amount;
        }
      }
    }
    scratch.sums(part)[0] = hits;
    scratch.sums(part)[1] = misses;
    scratch.notes(part) = notes;
  });
  const Notes notes = scratch.combine();
  if (notes.bad > 0 && validate) {
    reader.raise_bad_label();
  }
  events[kNan] += notes.nan;
  state[kTp] += static_cast<StateSum>(scratch.sums(0)[0]);
  state[kFp] += static_cast<StateSum>(scratch.sums(0)[1]);
  state[kFn] += static_cast<StateSum>(scratch.sums(0)[1]);
}

// One state row per sample. Labels are checked first, because the rows are written while reading.
template <class Sum>
void count_samples(const ClassReader& reader, const Weights& weights, int64_t num_classes,
                   int64_t columns, bool validate, Sum* state, int64_t* events) {
  if (validate && reader.has_bad_label()) {
    reader.raise_bad_label();
  }
  const int64_t depth = reader.depth();
  const int64_t size = (num_classes + kSpareRows) * kTallies;
  const Partition partition(reader.num_samples(), depth * reader.bytes_per_position(), 0, true, 1);
  Scratch<int64_t> scratch(partition.parts, size);
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    int64_t* sums = scratch.sums(part) + kSpareRows * kTallies;
    Notes notes;
    ClassBlock block;
    for (int64_t sample = begin; sample < end; ++sample) {
      std::fill(sums, sums + num_classes * kTallies, 0);
      const int64_t stop = (sample + 1) * depth;
      for (int64_t first = sample * depth; first < stop; first += kBlock) {
        const int64_t last = std::min(stop, first + kBlock);
        reader.read(first, last, block, notes);
        tally(block, last - first, [](int64_t) { return int64_t{1}; }, sums);
      }
      const Sum factor = weights ? static_cast<Sum>(weights[sample]) : Sum{1};
      add_to_state(sums, num_classes, columns, factor, state + sample * columns * 4);
    }
    scratch.notes(part) = notes;
  });
  for (int64_t part = 0; part < partition.parts; ++part) {
    events[kNan] += scratch.notes(part).nan;
  }
}

void stat_scores_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                     const std::optional<Tensor>& weight, int64_t num_classes, int64_t top_k,
                     std::optional<int64_t> ignore_index, bool validate) {
  const ClassReader reader("stat_scores_", preds, target, num_classes, top_k, ignore_index);
  const bool samplewise = state.dim() == 3;
  const int64_t columns = state.size(-2);
  require(state.size(-1) == 4 && (columns == 1 || columns == num_classes) &&
              (!samplewise || state.size(0) == reader.num_samples()),
          "the state of stat_scores_ must be [C, 4], [1, 4] or one of them per sample.");
  require(num_classes > 0 || !samplewise, "counts per sample need the number of classes.");
  const Weights weights(weight, target.size(0), state);
  if (reader.positions() == 0) {
    return;
  }
  int64_t* event_counts = events_data(events);
  with_sum_types(state, weights, [&](auto sum, auto state_sum) {
    using Sum = decltype(sum);
    auto* data = state_data<decltype(state_sum)>(state);
    if (samplewise) {
      count_samples(reader, weights, num_classes, columns, validate, data, event_counts);
    } else if (num_classes == 0) {
      count_hits<Sum>(reader, weights, validate, data, event_counts);
    } else {
      count_all<Sum>(reader, weights, num_classes, columns, validate, data, event_counts);
    }
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  library.impl("stat_scores_", TORCH_BOX(&stat_scores_cpu));
}

}  // namespace fastmetrics
