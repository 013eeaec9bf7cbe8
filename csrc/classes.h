// Multiclass inputs as pairs of codes: the reading half of every op that takes an argmax.
#pragma once

#include <vector>

#include "argmax.h"
#include "labels.h"
#include "parallel.h"

namespace fastmetrics {

inline constexpr int64_t kBlock = 1024;

// A block of positions, decoded: `target` holds codes, `pred` a class wherever target >= 0.
struct ClassBlock {
  std::array<int32_t, kBlock> target;
  std::array<int32_t, kBlock> pred;
};

class ClassReader {
 public:
  ClassReader(const char* op, const Tensor& preds, const Tensor& target, int64_t num_classes,
              int64_t top_k, std::optional<int64_t> ignore_index);

  int64_t num_samples() const { return num_samples_; }
  int64_t depth() const { return depth_; }  // positions per sample
  int64_t positions() const { return num_samples_ * depth_; }
  int64_t bytes_per_position() const { return bytes_per_position_; }

  // Decodes positions [begin, end), at most kBlock of them. Bad labels become kBad in `target`.
  void read(int64_t begin, int64_t end, ClassBlock& block, Notes& notes) const;

  // Whether scanning the labels alone finds a bad one; for updates that write as they read.
  bool has_bad_label() const;
  [[noreturn]] void raise_bad_label() const;

 private:
  const char* op_;
  const Tensor& preds_;
  const Tensor& target_;
  std::optional<int64_t> ignore_index_;
  bool has_scores_;
  int64_t num_samples_;
  int64_t depth_;
  int64_t num_classes_ = 0;
  int64_t label_limit_ = 0;
  int64_t class_stride_ = 0;
  int64_t top_k_;
  int64_t bytes_per_position_;
  Geometry geometry_;
  LabelReader target_labels_;
  std::optional<LabelReader> pred_labels_;
  const void* scores_ = nullptr;
  const ArgmaxKernels* kernels_ = nullptr;
};

// Adds positions [begin, end) to a matrix of num_classes^2 cells with one cell to spare.
template <class Sum>
Notes tally_cells(const ClassReader& reader, const Weights& weights, int64_t num_classes,
                  int64_t begin, int64_t end, Sum* matrix) {
  Notes notes;
  ClassBlock block;
  std::array<int32_t, kBlock> cells;
  std::array<double, kBlock> amounts;
  for (int64_t first = begin; first < end; first += kBlock) {
    const int64_t last = std::min(end, first + kBlock);
    reader.read(first, last, block, notes);
    pair_kernels().pair_cells(block.target.data(), block.pred.data(), last - first,
                              static_cast<int32_t>(num_classes), cells.data());
    if (weights) {
      notes.weights += weights.read(first, last, reader.depth(), amounts.data());
      for (int64_t i = 0; i < last - first; ++i) {
        matrix[cells[i]] += static_cast<Sum>(amounts[i]);
      }
    } else {
      for (int64_t i = 0; i < last - first; ++i) {
        matrix[cells[i]] += 1;
      }
    }
  }
  return notes;
}

}  // namespace fastmetrics
