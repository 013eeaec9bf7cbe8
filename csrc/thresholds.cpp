#include "thresholds.h"

#include <new>

#include "scores.h"

namespace fastmetrics {
namespace {

template <class T>
FM_INLINE void decide_loop(const T* scores, int64_t stride, const int32_t* target, int64_t count,
                           const Cuts<T>& cuts, uint8_t* decisions, Notes& notes) {
  using S = Score<T>;
  int32_t nan = 0;
  int32_t outside = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto key = S::key(scores[i * stride]);
    const int32_t t = target[i];
    const int32_t counted = t >= 0;
    const int32_t prob = key > cuts.prob ? kProbPositive : 0;
    const int32_t logit = key > cuts.logit ? kLogitPositive : 0;
    decisions[i] = static_cast<uint8_t>(counted     ? t | prob | logit
                                        : t == kBad ? kBadDecision
                                                    : kIgnoredDecision);
    nan += S::nan(key) ? counted : 0;
    outside += (key < 0) | (key > cuts.one) ? counted : 0;
  }
  notes.nan += nan;
  notes.outside += outside;
}

#define DECIDE(name, type)                                                                    \
  FM_INLINE void decide_##name##_impl(const void* scores, int64_t offset, int64_t stride,     \
                                      const int32_t* target, int64_t count, const void* cuts, \
                                      uint8_t* decisions, Notes& notes) {                     \
    const type* first = static_cast<const type*>(scores) + offset;                            \
    const auto& typed_cuts = *static_cast<const Cuts<type>*>(cuts);                           \
    if (stride == 1) {                                                                        \
      decide_loop(first, 1, target, count, typed_cuts, decisions, notes);                     \
    } else {                                                                                  \
      decide_loop(first, stride, target, count, typed_cuts, decisions, notes);                \
    }                                                                                         \
  }                                                                                           \
  FM_MULTIVERSION(void, decide_##name,                                                        \
                  (const void* scores, int64_t offset, int64_t stride, const int32_t* target, \
                   int64_t count, const void* cuts, uint8_t* decisions, Notes& notes),        \
                  (scores, offset, stride, target, count, cuts, decisions, notes))
DECIDE(float32, float)
DECIDE(float64, double)
DECIDE(float16, Half)
DECIDE(bfloat16, BFloat16)
DECIDE(codes, int32_t)
#undef DECIDE

FM_INLINE void count_decisions_now_impl(const uint8_t* decisions, int64_t count, int64_t* kinds) {
  for (int64_t kind = 0; kind < kDecisionKinds; ++kind) {
    int32_t found = 0;
    for (int64_t i = 0; i < count; ++i) {
      found += decisions[i] == kind;
    }
    kinds[kind] += found;
  }
}
FM_MULTIVERSION(void, count_decisions_now,
                (const uint8_t* decisions, int64_t count, int64_t* kinds),
                (decisions, count, kinds))

}  // namespace

void count_decisions(const uint8_t* decisions, int64_t count, int64_t* kinds) {
  count_decisions_now(decisions, count, kinds);
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
  const auto use = [&](Decide decide, auto type) {
    decide_ = decide;
    static_assert(sizeof(Cuts<decltype(type)>) <= sizeof(cuts_));
    new (cuts_.data()) Cuts<decltype(type)>(threshold);
  };
  if (!is_score_type(preds.scalar_type())) {
    pred_labels_.emplace(preds, LabelRule{2, std::nullopt});
    use(decide_codes, int32_t{});
    return;
  }
  scores_ = preds.const_data_ptr();
  switch (preds.scalar_type()) {
    case ScalarType::Float:
      use(decide_float32, float{});
      break;
    case ScalarType::Double:
      use(decide_float64, double{});
      break;
    case ScalarType::Half:
      use(decide_float16, Half{});
      break;
    default:
      use(decide_bfloat16, BFloat16{});
      break;
  }
}

void ThresholdReader::read_codes(int64_t length, int64_t pred_offset, int64_t target_offset,
                                 int32_t* target, int32_t* pred) const {
  target_labels_.read(target_offset, geometry_.inner_b(), length, target);
  if (pred_labels_.has_value()) {
    pred_labels_->read(pred_offset, geometry_.inner_a(), length, pred);
    for (int64_t i = 0; i < length; ++i) {
      target[i] = target[i] >= 0 && pred[i] == kBad ? kBad : target[i];
    }
  }
}

void ThresholdReader::read(int64_t begin, int64_t end, uint8_t* decisions, Notes& notes) const {
  geometry_.for_runs(begin, end, [&](int64_t length, int64_t pred_offset, int64_t target_offset) {
    std::array<int32_t, kDecisions> target;
    std::array<int32_t, kDecisions> pred;
    read_codes(length, pred_offset, target_offset, target.data(), pred.data());
    int64_t bad = 0;
    for (int64_t i = 0; i < length; ++i) {
      bad += target[i] == kBad;
    }
    notes.bad += bad;
    if (pred_labels_.has_value()) {
      decide_(pred.data(), 0, 1, target.data(), length, cuts_.data(), decisions, notes);
    } else {
      decide_(scores_, pred_offset, geometry_.inner_a(), target.data(), length, cuts_.data(),
              decisions, notes);
    }
    decisions += length;
  });
}

bool ThresholdReader::has_bad_label() const {
  std::array<int32_t, kDecisions> target;
  std::array<int32_t, kDecisions> pred;
  bool bad = false;
  for (int64_t begin = 0; begin < elements_; begin += kDecisions) {
    const int64_t end = std::min(elements_, begin + kDecisions);
    geometry_.for_runs(begin, end, [&](int64_t length, int64_t pred_offset, int64_t target_offset) {
      read_codes(length, pred_offset, target_offset, target.data(), pred.data());
      for (int64_t i = 0; i < length; ++i) {
        bad |= target[i] == kBad;
      }
    });
  }
  return bad;
}

void ThresholdReader::raise_bad_label() const {
  const LabelArgument target{"target", target_, {2, ignore_index_}};
  const LabelArgument preds{"preds", preds_, {2, std::nullopt}, &target_};
  const std::array<LabelArgument, 2> arguments{target, preds};
  raise_first_bad(op_, std::span(arguments).first(pred_labels_.has_value() ? 2 : 1), ignore_index_);
}

}  // namespace fastmetrics
