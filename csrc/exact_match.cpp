// exact_match_ and label_exact_match_: items whose every position is right, and items.
#include "classes.h"
#include "op.h"
#include "thresholds.h"

namespace fastmetrics {
namespace {

// Adds (correct, items) of the samples [begin, end) to `row` of each; `advance` tells rows apart.
template <class Sum>
void match_classes(const ClassReader& reader, const Weights& weights, int64_t begin, int64_t end,
                   bool advance, Sum* row, Notes& notes) {
  const int64_t depth = reader.depth();
  ClassBlock block;
  WeightsInOrder amounts(weights, end, 1);
  bool correct = true;
  bool usable = true;
  for (int64_t first = begin * depth; first < end * depth; first += kBlock) {
    const int64_t last = std::min(end * depth, first + kBlock);
    reader.read(first, last, block, notes);
    for (int64_t i = first; i < last; ++i) {
      const int32_t target = block.target[i - first];
      usable &= target != kBad;
      correct &= target == kIgnored || target == block.pred[i - first];
      if ((i + 1) % depth == 0) {
        const Sum amount = static_cast<Sum>(amounts.at(i / depth, notes.weights));
        row[0] += usable && correct ? amount : Sum{0};
        row[1] += usable ? amount : Sum{0};
        row += advance ? 2 : 0;
        correct = usable = true;
      }
    }
  }
}

void exact_match_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                     const std::optional<Tensor>& weight, int64_t num_classes,
                     std::optional<int64_t> ignore_index, bool validate) {
  const ClassReader reader("exact_match_", preds, target, num_classes, 1, ignore_index);
  const bool samplewise = state.dim() == 2;
  require(state.size(-1) == 2 && (!samplewise || state.size(0) == reader.num_samples()),
          "the state of exact_match_ must be [2], or [N, 2].");
  const Weights weights(weight, target.size(0), state);
  if (reader.positions() == 0) {
    return;
  }
  int64_t* event_counts = events_data(events);
  with_sum_types(state, weights, [&](auto, auto state_sum) {
    using Sum = decltype(state_sum);
    Sum* data = state_data<Sum>(state);
    if (samplewise && validate && reader.has_bad_label()) {
      reader.raise_bad_label();
    }
    const Partition partition(reader.num_samples(), reader.depth() * reader.bytes_per_position(),
                              16, samplewise || !weights);
    Scratch<Sum> scratch(partition.parts, 2);
    partition.run([&](int64_t part, int64_t begin, int64_t end) {
      Notes notes;
      match_classes(reader, weights, begin, end, samplewise,
                    samplewise ? data + begin * 2 : scratch.sums(part), notes);
      scratch.notes(part) = notes;
    });
    const Notes notes = scratch.combine();
    if (notes.bad > 0 && validate) {
      reader.raise_bad_label();
    }
    data[0] += samplewise ? Sum{0} : scratch.sums(0)[0];
    data[1] += samplewise ? Sum{0} : scratch.sums(0)[1];
    event_counts[kNan] += notes.nan;
    event_counts[kBadWeight] += notes.weights;
  });
}

// What each decision leaves of an item: a bit per reading that is right, and a bit for a usable
// label.
constexpr uint8_t kUsable = 4;

std::array<uint8_t, kDecisionSlots> verdicts() {
  std::array<uint8_t, kDecisionSlots> table{};
  for (int64_t decision = 0; decision < kDecisionKinds; ++decision) {
    const bool target = (decision & kTarget) != 0;
    table[decision] = kUsable | (positive(decision, kProbs) == target ? 1 << kProbs : 0) |
                      (positive(decision, kLogits) == target ? 1 << kLogits : 0);
  }
  table[kIgnoredDecision] = kUsable | 1 << kProbs | 1 << kLogits;
  return table;
}

// The same for items of `num_labels` adjacent decisions, with a pair (correct, items) per reading.
template <class Sum>
void match_labels(const ThresholdReader& reader, const Weights& weights, int64_t num_labels,
                  int64_t sample_size, std::span<const Reading> readings, int64_t begin,
                  int64_t end, bool advance, Sum* row, Notes& notes) {
  static const std::array<uint8_t, kDecisionSlots> kVerdicts = verdicts();
  std::array<uint8_t, kDecisions> decisions;
  WeightsInOrder amounts(weights, end, 1);
  uint8_t verdict = 0xff;
  int64_t sample = begin;
  int64_t labels_left = num_labels;
  int64_t sample_left = sample_size;
  for (int64_t first = begin * sample_size; first < end * sample_size; first += kDecisions) {
    const int64_t count = std::min(end * sample_size - first, kDecisions);
    reader.read(first, first + count, decisions.data(), notes);
    for (int64_t i = 0; i < count;) {
      const int64_t stop = std::min(count, i + labels_left);
      labels_left -= stop - i;
      for (; i < stop; ++i) {
        verdict &= kVerdicts[decisions[i]];
      }
      if (labels_left > 0) {
        continue;
      }
      const Sum weight = static_cast<Sum>(amounts.at(sample, notes.weights));
      const Sum amount = verdict & kUsable ? weight : Sum{0};
      Sum* pair = row;
      for (const Reading reading : readings) {
        pair[0] += verdict & (1 << reading) ? amount : Sum{0};
        pair[1] += amount;
        pair += 2;
      }
      verdict = 0xff;
      labels_left = num_labels;
      sample_left -= num_labels;
      if (sample_left == 0) {
        sample_left = sample_size;
        ++sample;
        row = advance ? pair : row;
      }
    }
  }
}

void label_exact_match_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                           const std::optional<Tensor>& weight, int64_t num_labels,
                           double threshold, bool logits, std::optional<int64_t> ignore_index,
                           bool validate) {
  require(target.dim() > 1 && target.size(1) == num_labels && num_labels > 0,
          "the label axis does not fit.");
  const ThresholdReader reader("label_exact_match_", preds, target, threshold, ignore_index, true);
  const bool samplewise = state.dim() == 3;
  const int64_t num_samples = target.size(0);
  const int64_t num_readings = state.size(-2);
  require(state.size(-1) == 2 && (!samplewise || state.size(0) == num_samples),
          "the state of label_exact_match_ must be [H, 2], or [N, H, 2].");
  const std::span<const Reading> readings = readings_of(num_readings, logits);
  const int64_t pairs = num_readings * 2;
  const Weights weights(weight, target.size(0), state);
  if (reader.elements() == 0) {
    return;
  }
  const int64_t sample_size = reader.elements() / num_samples;
  int64_t* event_counts = events_data(events);
  with_sum_types(state, weights, [&](auto, auto state_sum) {
    using Sum = decltype(state_sum);
    Sum* data = state_data<Sum>(state);
    if (samplewise && validate && reader.has_bad_label()) {
      reader.raise_bad_label();
    }
    const Partition partition(num_samples, sample_size * reader.bytes_per_element(), 32,
                              samplewise || !weights);
    Scratch<Sum> scratch(partition.parts, pairs);
    partition.run([&](int64_t part, int64_t begin, int64_t end) {
      Notes notes;
      match_labels(reader, weights, num_labels, sample_size, readings, begin, end, samplewise,
                   samplewise ? data + begin * pairs : scratch.sums(part), notes);
      scratch.notes(part) = notes;
    });
    const Notes notes = scratch.combine();
    if (notes.bad > 0 && validate) {
      reader.raise_bad_label();
    }
    if (!samplewise) {
      for (int64_t i = 0; i < pairs; ++i) {
        data[i] += scratch.sums(0)[i];
      }
    }
    event_counts[kNan] += notes.nan;
    event_counts[kBadWeight] += notes.weights;
    if (num_readings == 2) {
      event_counts[kOutside] += notes.outside;
    }
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<exact_match_cpu>(library, "exact_match_");
  register_op<label_exact_match_cpu>(library, "label_exact_match_");
}

}  // namespace fastmetrics
