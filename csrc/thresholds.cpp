#include "thresholds.h"

#include "scores.h"

#define FM_KERNELS "thresholds.inl"
#include "each_isa.h"

namespace fastmetrics {

void count_decisions(const uint8_t* decisions, int64_t count, int64_t* kinds) {
  static const auto count_kinds = FM_PICK(kCountKinds);
  count_kinds(decisions, count, kinds);
}

ThresholdReader::ThresholdReader(const char* op, const Tensor& preds, const Tensor& target,
                                 double threshold, std::optional<int64_t> ignore_index,
                                 bool labels_last)
    : op_(op),
      preds_(preds),
      target_(target),
      ignore_index_(ignore_index),
      elements_(target.numel()),
      bytes_per_element_(static_cast<int64_t>(preds.element_size() + target.element_size())),
      target_labels_(target, LabelRule{2, ignore_index}) {
  const int64_t axes = target.dim();
  require(axes > 0, "`preds` and `target` need at least one axis.");
  require(preds.dim() == axes, "`preds` and `target` do not fit.");
  const auto push = [&](int64_t axis) {
    require(preds.size(axis) == target.size(axis), "`preds` and `target` do not fit.");
    geometry_.push(target.size(axis), preds.stride(axis), target.stride(axis));
  };
  for (int64_t axis = 0; axis < axes; ++axis) {
    if (!labels_last || axis != 1) {
      push(axis);
    }
  }
  if (labels_last) {
    push(1);
  }
  if (!is_score_type(preds.scalar_type())) {
    pred_labels_.emplace(preds, LabelRule{2, std::nullopt});
    decide_ = FM_PICK(kDecide<int32_t>);
    cuts_ = Cuts{0.0, 0.0, 1.0};
    const bool dense = geometry_.axes <= 1 && geometry_.inner_a() == 1 && geometry_.inner_b() == 1;
    if (dense && preds.scalar_type() == target.scalar_type() && !ignore_index.has_value()) {
      switch (preds.element_size()) {
        case 1:
          count_masks_ = FM_PICK(kCountMasks<uint8_t>);
          break;
        case 2:
          count_masks_ = FM_PICK(kCountMasks<uint16_t>);
          break;
        case 4:
          count_masks_ = FM_PICK(kCountMasks<uint32_t>);
          break;
        default:
          count_masks_ = FM_PICK(kCountMasks<uint64_t>);
      }
    }
    return;
  }
  scores_ = preds.const_data_ptr();
  with_score_type(preds.scalar_type(), [&](auto type) {
    decide_ = FM_PICK(kDecide<decltype(type)>);
    cuts_ = cuts_at<decltype(type)>(threshold);
  });
}

int64_t ThresholdReader::read_codes(int64_t length, int64_t pred_offset, int64_t target_offset,
                                    int32_t* target, int32_t* pred) const {
  int64_t bad = target_labels_.read(target_offset, geometry_.inner_b(), length, target);
  if (pred_labels_.has_value()) {
    if (pred_labels_->read(pred_offset, geometry_.inner_a(), length, pred) > 0) {
      bad += pair_kernels().spoil_targets(pred, length, target);
    }
  }
  return bad;
}

void ThresholdReader::read(int64_t begin, int64_t end, uint8_t* decisions, Notes& notes) const {
  geometry_.for_runs(begin, end, [&](int64_t length, int64_t pred_offset, int64_t target_offset) {
    std::array<int32_t, kDecisions> target;
    std::array<int32_t, kDecisions> pred;
    notes.bad += read_codes(length, pred_offset, target_offset, target.data(), pred.data());
    if (pred_labels_.has_value()) {
      decide_(pred.data(), 0, 1, target.data(), length, cuts_, decisions, notes);
    } else {
      decide_(scores_, pred_offset, geometry_.inner_a(), target.data(), length, cuts_, decisions,
              notes);
    }
    decisions += length;
  });
}

bool ThresholdReader::has_bad_label() const {
  std::array<int32_t, kDecisions> target;
  std::array<int32_t, kDecisions> pred;
  int64_t bad = 0;
  for (int64_t begin = 0; begin < elements_; begin += kDecisions) {
    const int64_t end = std::min(elements_, begin + kDecisions);
    geometry_.for_runs(begin, end, [&](int64_t length, int64_t pred_offset, int64_t target_offset) {
      bad += read_codes(length, pred_offset, target_offset, target.data(), pred.data());
    });
  }
  return bad > 0;
}

void ThresholdReader::raise_bad_label() const {
  const LabelArgument target{"target", target_, {2, ignore_index_}};
  const LabelArgument preds{"preds", preds_, {2, std::nullopt}, &target_};
  const std::array<LabelArgument, 2> arguments{target, preds};
  raise_first_bad(op_, std::span(arguments).first(pred_labels_.has_value() ? 2 : 1), ignore_index_);
}

}  // namespace fastmetrics
