// Binary and multilabel inputs as decisions: scores against a threshold, read in two ways at once.
#pragma once

#include "labels.h"
#include "parallel.h"
#include "scores.h"

namespace fastmetrics {

inline constexpr int64_t kDecisions = 2048;

// A decision packs the target with the prediction of each reading, or says that nothing counts.
enum Decision : uint8_t { kTarget = 1, kProbPositive = 2, kLogitPositive = 4 };
inline constexpr int64_t kDecisionKinds = 8;
inline constexpr int64_t kDecisionSlots =
    16;  // room for every value, so that counting needs no branch
inline constexpr uint8_t kIgnoredDecision = 8;
inline constexpr uint8_t kBadDecision = 9;

// Thresholds read scores as probabilities, as logits, or as both; the value is the index of the
// table.
enum Reading : int { kProbs = 0, kLogits = 1 };

// The readings that a state of `count` tables holds: both, or the one that `logits` names.
inline std::span<const Reading> readings_of(int64_t count, bool logits) {
  static constexpr std::array<Reading, 2> kBoth{kProbs, kLogits};
  require(count == 1 || count == 2, "a state holds one or two readings.");
  return count == 2 ? std::span<const Reading>(kBoth) : std::span(kBoth).subspan(logits ? 1 : 0, 1);
}

inline bool positive(int64_t decision, Reading reading) {
  return (decision & (reading == kProbs ? kProbPositive : kLogitPositive)) != 0;
}

using Decide = void (*)(const void* scores, int64_t offset, int64_t stride, const int32_t* target,
                        int64_t count, const Cuts& cuts, uint8_t* decisions, Notes& notes);

using CountMasks = bool (*)(const void* preds, const void* target, int64_t offset, int64_t count,
                            int64_t* kinds);

class ThresholdReader {
 public:
  // `labels_last` walks the label axis (axis 1) innermost, so that the labels of an item are
  // adjacent.
  ThresholdReader(const char* op, const Tensor& preds, const Tensor& target, double threshold,
                  std::optional<int64_t> ignore_index, bool labels_last = false);

  int64_t elements() const { return elements_; }
  int64_t bytes_per_element() const { return bytes_per_element_; }

  // Decides elements [begin, end), at most kDecisions of them.
  void read(int64_t begin, int64_t end, uint8_t* decisions, Notes& notes) const;

  // Adds how often each decision occurs in elements [begin, end), which are read as they lie.
  // False, and nothing added, unless these are two masks of one type, dense, and of 0 and 1 alone.
  bool count_masks(int64_t begin, int64_t end, int64_t* kinds) const {
    return count_masks_ != nullptr &&
           count_masks_(preds_.const_data_ptr(), target_.const_data_ptr(), begin, end - begin,
                        kinds);
  }

  // Whether scanning the labels alone finds a bad one; for updates that write as they read.
  bool has_bad_label() const;
  [[noreturn]] void raise_bad_label() const;

 private:
  // Returns how many labels are bad.
  int64_t read_codes(int64_t length, int64_t pred_offset, int64_t target_offset, int32_t* target,
                     int32_t* pred) const;

  const char* op_;
  const Tensor& preds_;
  const Tensor& target_;
  std::optional<int64_t> ignore_index_;
  int64_t elements_;
  int64_t bytes_per_element_;
  Geometry geometry_;
  LabelReader target_labels_;
  std::optional<LabelReader> pred_labels_;
  const void* scores_ = nullptr;
  Decide decide_ = nullptr;
  CountMasks count_masks_ = nullptr;
  Cuts cuts_;
};

// Adds how often each decision occurs among `count` of them.
void count_decisions(const uint8_t* decisions, int64_t count, int64_t* kinds);

}  // namespace fastmetrics
