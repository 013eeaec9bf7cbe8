#include "classes.h"

#include <limits>

#include "argmax.h"

namespace fastmetrics {
namespace {

#define ARGMAX(name, type)                                                                       \
  FM_INLINE bool argmax_##name##_impl(const void* scores, int64_t offset, const ScoreRun& run,   \
                                      int64_t count, int32_t* best_class, uint8_t* nan) {        \
    return argmax_run_impl(static_cast<const type*>(scores) + offset, run, count, best_class,    \
                           nan);                                                                 \
  }                                                                                              \
  FM_MULTIVERSION(bool, argmax_##name,                                                           \
                  (const void* scores, int64_t offset, const ScoreRun& run, int64_t count,       \
                   int32_t* best_class, uint8_t* nan),                                           \
                  (scores, offset, run, count, best_class, nan))                                 \
  FM_INLINE void prefer_target_##name##_impl(                                                    \
      const void* scores, int64_t offset, const ScoreRun& run, int64_t count,                    \
      const int32_t* target, int64_t top_k, int32_t* best_class) {                               \
    prefer_target_run_impl(static_cast<const type*>(scores) + offset, run, count, target, top_k, \
                           best_class);                                                          \
  }                                                                                              \
  FM_MULTIVERSION(void, prefer_target_##name,                                                    \
                  (const void* scores, int64_t offset, const ScoreRun& run, int64_t count,       \
                   const int32_t* target, int64_t top_k, int32_t* best_class),                   \
                  (scores, offset, run, count, target, top_k, best_class))
ARGMAX(float32, float)
ARGMAX(float64, double)
ARGMAX(float16, Half)
ARGMAX(bfloat16, BFloat16)
#undef ARGMAX

}  // namespace

ClassReader::ClassReader(const char* op, const Tensor& preds, const Tensor& target,
                         int64_t num_classes, int64_t top_k, std::optional<int64_t> ignore_index)
    : op_(op),
      preds_(preds),
      target_(target),
      ignore_index_(ignore_index),
      has_scores_(preds.dim() == target.dim() + 1),
      num_samples_(target.size(0)),
      depth_(num_samples_ > 0 ? target.numel() / num_samples_ : 0),
      num_classes_(has_scores_ ? preds.size(1) : num_classes),
      // An unknown number of classes (0) leaves only the range of a code.
      label_limit_(num_classes_ > 0 ? num_classes_ : std::numeric_limits<int32_t>::max()),
      top_k_(top_k),
      target_labels_(target, LabelRule{label_limit_, ignore_index}) {
  const int64_t axes = target.dim();
  require(preds.dim() == axes + (has_scores_ ? 1 : 0), "`preds` and `target` do not fit.");
  for (int64_t axis = 0; axis < axes; ++axis) {
    const int64_t from = has_scores_ && axis > 0 ? axis + 1 : axis;
    require(preds.size(from) == target.size(axis), "`preds` and `target` do not fit.");
    geometry_.push(target.size(axis), preds.stride(from), target.stride(axis));
  }
  if (!has_scores_) {
    pred_labels_.emplace(preds, LabelRule{label_limit_, std::nullopt});
    bytes_per_position_ = static_cast<int64_t>(preds.element_size() + target.element_size());
    return;
  }
  class_stride_ = preds.stride(1);
  scores_ = preds.const_data_ptr();
  bytes_per_position_ = num_classes_ * static_cast<int64_t>(preds.element_size()) +
                        static_cast<int64_t>(target.element_size());
  switch (preds.scalar_type()) {
    case ScalarType::Float:
      argmax_ = argmax_float32;
      prefer_target_ = prefer_target_float32;
      break;
    case ScalarType::Double:
      argmax_ = argmax_float64;
      prefer_target_ = prefer_target_float64;
      break;
    case ScalarType::Half:
      argmax_ = argmax_float16;
      prefer_target_ = prefer_target_float16;
      break;
    case ScalarType::BFloat16:
      argmax_ = argmax_bfloat16;
      prefer_target_ = prefer_target_bfloat16;
      break;
    default:
      unsupported_dtype("`preds`");
  }
}

void ClassReader::read(int64_t begin, int64_t end, ClassBlock& block, Notes& notes) const {
  int64_t done = 0;
  geometry_.for_runs(begin, end, [&](int64_t length, int64_t pred_offset, int64_t target_offset) {
    int32_t* target = block.target.data() + done;
    int32_t* pred = block.pred.data() + done;
    target_labels_.read(target_offset, geometry_.inner_b(), length, target);
    if (has_scores_) {
      const ScoreRun run{geometry_.inner_a(), class_stride_, num_classes_};
      std::array<uint8_t, kBlock> nan;
      if (argmax_(scores_, pred_offset, run, length, pred, nan.data())) {
        for (int64_t i = 0; i < length; ++i) {
          notes.nan += nan[i] != 0 && target[i] >= 0;
        }
      }
      if (top_k_ > 1) {
        prefer_target_(scores_, pred_offset, run, length, target, top_k_, pred);
      }
    } else {
      pred_labels_->read(pred_offset, geometry_.inner_a(), length, pred);
      for (int64_t i = 0; i < length; ++i) {
        target[i] = target[i] >= 0 && pred[i] == kBad ? kBad : target[i];
      }
    }
    done += length;
  });
  int64_t bad = 0;
  for (int64_t i = 0; i < done; ++i) {
    bad += block.target[i] == kBad;
  }
  notes.bad += bad;
}

bool ClassReader::has_bad_label() const {
  std::array<int32_t, kBlock> target;
  std::array<int32_t, kBlock> pred;
  int64_t bad = 0;
  for (int64_t begin = 0; begin < positions(); begin += kBlock) {
    const int64_t end = std::min(positions(), begin + kBlock);
    geometry_.for_runs(begin, end, [&](int64_t length, int64_t pred_offset, int64_t target_offset) {
      target_labels_.read(target_offset, geometry_.inner_b(), length, target.data());
      if (!has_scores_) {
        pred_labels_->read(pred_offset, geometry_.inner_a(), length, pred.data());
      }
      for (int64_t i = 0; i < length; ++i) {
        bad += target[i] == kBad || (!has_scores_ && target[i] >= 0 && pred[i] == kBad);
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
