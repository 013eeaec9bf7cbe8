// Multiclass inputs as pairs of codes: the reading half of every op that takes an argmax.
#pragma once

#include <vector>

#include "labels.h"
#include "parallel.h"

namespace fastmetrics {

struct ScoreRun;

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
  using Argmax = bool (*)(const void*, int64_t, const ScoreRun&, int64_t, int32_t*, uint8_t*);
  using PreferTarget = void (*)(const void*, int64_t, const ScoreRun&, int64_t, const int32_t*,
                                int64_t, int32_t*);

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
  Argmax argmax_ = nullptr;
  PreferTarget prefer_target_ = nullptr;
};

}  // namespace fastmetrics
