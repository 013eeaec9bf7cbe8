// Labels of any integer type as small codes, and the words for the first one that does not fit.
#pragma once

#include "simd.h"
#include "stable.h"

namespace fastmetrics {

// Codes that are not classes. Everything at or above 0 is a class that counts.
inline constexpr int32_t kIgnored = -1;
inline constexpr int32_t kBad = -2;

// What a label must be: below `limit`, or equal to `ignore` where there is one.
struct LabelRule {
  int64_t limit;
  std::optional<int64_t> ignore;

  bool ignores_a_class() const { return ignore.has_value() && *ignore >= 0 && *ignore < limit; }
};

// Counts of a class while a batch is read; what else a state holds follows from them.
enum ClassTally : int32_t { kMissed = 0, kHit = 1, kCalled = 2 };  // its targets, and predictions
inline constexpr int32_t kClassTallies = 3;

using ReadLabels = int64_t (*)(const void* labels, int64_t offset, int64_t stride, int64_t count,
                               const LabelRule& rule, int32_t* codes);

// Loops over decoded labels. `spoil_targets` marks targets bad whose predicted label is, and counts
// them; `pair_cells` writes target * num_classes + pred, or one past the last cell where the target
// does not count; `tally_places` writes which two tallies each pair adds to, among those of what is
// no class where the target is none.
struct PairKernels {
  int64_t (*spoil_targets)(const int32_t* pred, int64_t count, int32_t* target);
  void (*pair_cells)(const int32_t* target, const int32_t* pred, int64_t count, int32_t num_classes,
                     int32_t* cells);
  void (*tally_places)(const int32_t* target, const int32_t* pred, int64_t count,
                       int32_t* target_places, int32_t* pred_places);
};
const PairKernels& pair_kernels();

class LabelReader {
 public:
  LabelReader(const Tensor& labels, LabelRule rule);

  // Writes the codes of `count` labels that start at `offset` and lie `stride` apart (in elements),
  // and returns how many are bad.
  int64_t read(int64_t offset, int64_t stride, int64_t count, int32_t* codes) const {
    return read_(data_, offset, stride, count, rule_, codes);
  }

 private:
  const void* data_;
  LabelRule rule_;
  ReadLabels read_;
};

// Raise for the first bad label of an argument, or of several in their order. Only called when a
// kernel saw one; reads the labels a second time.
struct LabelArgument {
  const char* name;
  const Tensor& tensor;
  LabelRule rule;
  const Tensor* unless_ignored = nullptr;  // labels whose partner here is ignored may be anything
};
void raise_if_bad(const char* op, const LabelArgument& argument, std::optional<int64_t> ignore);
[[noreturn]] void raise_first_bad(const char* op, std::span<const LabelArgument> arguments,
                                  std::optional<int64_t> ignore);

}  // namespace fastmetrics
