// Splitting work over torch's threads so that the result never depends on their number.
#pragma once

#include <algorithm>
#include <vector>

#include "weights.h"

namespace fastmetrics {

// Below this many bytes of input a second thread costs more than it saves.
inline constexpr int64_t kBytesPerPart = 64 * 1024;
// Scratch of all parts together, as a share of the bytes read.
inline constexpr int64_t kScratchShare = 16;
inline constexpr int64_t kMaxWeightedParts = 16;

// [0, count) in `parts` ranges whose borders are multiples of `align`.
struct Partition {
  int64_t count;
  int64_t parts;
  int64_t length;

  // Integer counts are the same for any partition, so they follow the number of threads; float sums
  // need one that follows from the sizes alone.
  Partition(int64_t count, int64_t bytes_each, int64_t scratch_bytes, bool exact,
            int64_t align = 64)
      : count(count) {
    const int64_t bytes = count * bytes_each;
    const int64_t wanted =
        exact ? static_cast<int64_t>(torch::stable::get_num_threads()) : kMaxWeightedParts;
    const int64_t affordable = std::min(
        bytes / kBytesPerPart, bytes / (kScratchShare * std::max<int64_t>(scratch_bytes, 1)));
    const int64_t split = std::max<int64_t>(1, std::min(wanted, affordable));
    length = (count + split - 1) / split;
    length = std::max<int64_t>(1, (length + align - 1) / align * align);
    parts = (count + length - 1) / length;
  }

  int64_t end_of(int64_t part) const { return std::min(count, (part + 1) * length); }
  int64_t size_of(int64_t part) const { return end_of(part) - part * length; }

  // Calls f(part, begin, end), in parallel when there is more than one part.
  template <class F>
  void run(F&& f) const {
    const auto one = [&](int64_t part) { f(part, part * length, end_of(part)); };
    if (parts == 1) {
      one(0);
      return;
    }
    torch::stable::parallel_for(0, parts, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; ++part) {
        one(part);
      }
    });
  }
};

// What the parts of one update found besides counts.
struct Notes {
  int64_t bad = 0;
  int64_t nan = 0;
  int64_t outside = 0;
  int64_t weights = 0;  // samples whose weight is bad

  Notes& operator+=(const Notes& other) {
    bad += other.bad;
    nan += other.nan;
    outside += other.outside;
    weights += other.weights;
    return *this;
  }
};

// One zeroed accumulator per part, added up in order of the parts.
template <class Sum>
class Scratch {
 public:
  Scratch() = default;
  // Parts begin at cache lines, so that two threads never write to the same one and no register is
  // stored across two.
  Scratch(int64_t parts, int64_t size)
      : size_(size),
        pitch_((size / kLine + 1) * kLine),
        sums_(static_cast<size_t>(parts * pitch_ + kLine)),
        notes_(static_cast<size_t>(parts)) {}

  int64_t parts() const { return static_cast<int64_t>(notes_.size()); }
  Sum* sums(int64_t part) {
    const auto address = reinterpret_cast<uintptr_t>(sums_.data());
    const size_t skipped = (64 - address % 64) % 64 / sizeof(Sum);
    return sums_.data() + skipped + part * pitch_;
  }
  Notes& notes(int64_t part) { return notes_[part]; }

  // Folds all parts into the first.
  Notes combine() {
    Notes total;
    for (const Notes& notes : notes_) {
      total += notes;
    }
    Sum* into = sums(0);
    for (size_t part = 1; part < notes_.size(); ++part) {
      const Sum* from = sums(static_cast<int64_t>(part));
      for (int64_t i = 0; i < size_; ++i) {
        into[i] += from[i];
      }
    }
    return total;
  }

 private:
  static_assert(64 % sizeof(Sum) == 0);
  static constexpr int64_t kLine = 64 / sizeof(Sum);

  int64_t size_ = 0;
  int64_t pitch_ = 0;
  std::vector<Sum> sums_;
  std::vector<Notes> notes_;
};

// Calls f(Sum{}, StateSum{}): what an update adds up, and what its state holds. Unweighted updates
// count in int64; a state is int64 until its first weighted update.
template <class F>
auto with_sum_types(const Tensor& state, const Weights& weights, F&& f) {
  const bool counts = state.scalar_type() == ScalarType::Long;
  require(counts || state.scalar_type() == ScalarType::Double,
          "the metric state must be int64 or float64.");
  if (weights) {
    return f(double{}, double{});
  }
  return counts ? f(int64_t{}, int64_t{}) : f(int64_t{}, double{});
}

}  // namespace fastmetrics
