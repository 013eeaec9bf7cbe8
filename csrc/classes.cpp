#include "classes.h"

#include <limits>

#include "argmax.h"

namespace fastmetrics {

ClassReader::ClassReader(const char* op, const Tensor& preds, const Tensor& target,
                         int64_t num_classes, int64_t top_k, std::optional<int64_t> ignore_index)
    : op_(op),
      preds_(preds),
      target_(target),
      ignore_index_(ignore_index),
      has_scores_(preds.dim() == target.dim() + 1),
      num_samples_(leading_size(target)),
      depth_(num_samples_ > 0 ? target.numel() / num_samples_ : 0),
      num_classes_(has_scores_ ? preds.size(1) : num_classes),
      // An unknown number of classes (0) leaves only the range of a code.
      label_limit_(num_classes_ > 0 ? num_classes_ : std::numeric_limits<int32_t>::max()),
      top_k_(top_k),
      target_labels_(target, LabelRule{label_limit_, ignore_index}) {
  const int64_t axes = target.dim();
  require(preds.dim() == axes + (has_scores_ ? 1 : 0), "`preds` and `target` do not fit.");
  require(num_classes == 0 || num_classes_ == num_classes,
          "the class axis of `preds` does not fit.");
  for (int64_t axis = 0; axis < axes; ++axis) {
    const int64_t from = has_scores_ && axis > 0 ? axis + 1 : axis;
    require(preds.size(from) == target.size(axis), "`preds` and `target` do not fit.");
    geometry_.push(target.size(axis), preds.stride(from), target.stride(axis));
  }
  if (!has_scores_) {
    require(top_k == 1, "`top_k` needs scores.");
    pred_labels_.emplace(preds, LabelRule{label_limit_, std::nullopt});
    bytes_per_position_ = static_cast<int64_t>(preds.element_size() + target.element_size());
    return;
  }
  require(num_classes_ > 0, "`preds` must have at least one class.");
  class_stride_ = preds.stride(1);
  scores_ = preds.const_data_ptr();
  bytes_per_position_ = num_classes_ * static_cast<int64_t>(preds.element_size()) +
                        static_cast<int64_t>(target.element_size());
  kernels_ = &argmax_kernels(preds.scalar_type());
}

void ClassReader::read(int64_t begin, int64_t end, ClassBlock& block, Notes& notes) const {
  int64_t done = 0;
  geometry_.for_runs(begin, end, [&](int64_t length, int64_t pred_offset, int64_t target_offset) {
    int32_t* target = block.target.data() + done;
    int32_t* pred = block.pred.data() + done;
    notes.bad += target_labels_.read(target_offset, geometry_.inner_b(), length, target);
    if (has_scores_) {
      const ScoreRun run{geometry_.inner_a(), class_stride_, num_classes_};
      std::array<uint8_t, kBlock> nan;
      if (kernels_->argmax(scores_, pred_offset, run, length, pred, nan.data())) {
        for (int64_t i = 0; i < length; ++i) {
          notes.nan += nan[i] != 0 && target[i] >= 0;
        }
      }
      if (top_k_ > 1) {
        kernels_->prefer_target(scores_, pred_offset, run, length, target, top_k_, pred);
      }
    } else {
      if (pred_labels_->read(pred_offset, geometry_.inner_a(), length, pred) > 0) {
        notes.bad += pair_kernels().spoil_targets(pred, length, target);
      }
    }
    done += length;
  });
}

bool ClassReader::has_bad_label() const {
  std::array<int32_t, kBlock> target;
  std::array<int32_t, kBlock> pred;
  int64_t bad = 0;
  for (int64_t begin = 0; begin < positions(); begin += kBlock) {
    const int64_t end = std::min(positions(), begin + kBlock);
    geometry_.for_runs(begin, end, [&](int64_t length, int64_t pred_offset, int64_t target_offset) {
      bad += target_labels_.read(target_offset, geometry_.inner_b(), length, target.data());
      if (!has_scores_) {
        if (pred_labels_->read(pred_offset, geometry_.inner_a(), length, pred.data()) > 0) {
          bad += pair_kernels().spoil_targets(pred.data(), length, target.data());
        }
      }
    });
  }
  return bad > 0;
}

void ClassReader::raise_bad_label() const {
  const LabelArgument target{"target", target_, {label_limit_, ignore_index_}};
  const LabelArgument preds{"preds", preds_, {label_limit_, std::nullopt}, &target_};
  const std::array<LabelArgument, 2> arguments{target, preds};
  raise_first_bad(op_, std::span(arguments).first(has_scores_ ? 1 : 2), ignore_index_);
}

}  // namespace fastmetrics
