// What sums of losses share: scores with the label of each position, and the way into the state.
#pragma once

#include "labels.h"
#include "parallel.h"

namespace fastmetrics {

class LossInputs {
 public:
  // `with_classes`: the second axis of `preds` is that of the classes, and `target` lacks it.
  LossInputs(const char* op, const Tensor& preds, const Tensor& target, bool with_classes,
             std::optional<int64_t> ignore_index)
      : op_(op),
        target_(target),
        scores_(preds.const_data_ptr()),
        width_(width_of(preds, target, with_classes)),
        rule_{with_classes ? width_ : 2, ignore_index},
        labels_(target, rule_),
        depth_(target.numel() / std::max<int64_t>(target.size(0), 1)),
        bytes_(width_ * static_cast<int64_t>(preds.element_size()) +
               static_cast<int64_t>(target.element_size())) {
    for (int64_t axis = 0; axis < target.dim(); ++axis) {
      geometry_.push(target.size(axis), preds.stride(axis_of_preds(axis, with_classes)),
                     target.stride(axis));
    }
  }

  // Adds what `sum(begin, end, sums, notes)` finds in ranges of the positions to a float64 state,
  // unless a label is bad. Ranges are multiples of `align`.
  template <class F>
  Notes add_to(Tensor& state, Tensor& events, bool validate, int64_t align, F&& sum) const {
    double* data = state_data<double>(state);
    int64_t* event_counts = events_data(events);
    if (target_.numel() == 0) {
      return {};
    }
    const int64_t size = state.numel();
    const Partition partition(target_.numel(), bytes_, size * static_cast<int64_t>(sizeof(double)),
                              false, align);
    Scratch<double> scratch(partition.parts, size);
    partition.run([&](int64_t part, int64_t begin, int64_t end) {
      sum(begin, end, scratch.sums(part), scratch.notes(part));
    });
    const Notes notes = scratch.combine();
    if (notes.bad > 0 && validate) {
      const LabelArgument argument{"target", target_, rule_};
      raise_first_bad(op_, std::span(&argument, 1), rule_.ignore);
    }
    for (int64_t i = 0; i < size; ++i) {
      data[i] += scratch.sums(0)[i];
    }
    event_counts[kNan] += notes.nan;
    event_counts[kBadWeight] += notes.weights;
    return notes;
  }

 private:
  static int64_t axis_of_preds(int64_t axis, bool with_classes) {
    return with_classes && axis > 0 ? axis + 1 : axis;
  }

  static int64_t width_of(const Tensor& preds, const Tensor& target, bool with_classes) {
    require(target.dim() > 0 && preds.dim() == target.dim() + (with_classes ? 1 : 0),
            "`preds` and `target` do not fit.");
    for (int64_t axis = 0; axis < target.dim(); ++axis) {
      require(preds.size(axis_of_preds(axis, with_classes)) == target.size(axis),
              "`preds` and `target` do not fit.");
    }
    require(is_score_type(preds.scalar_type()), "`preds` must be a float tensor.");
    require(is_label_type(target.scalar_type()), "`target` must be an integer or bool tensor.");
    return with_classes ? preds.size(1) : 1;
  }

  const char* op_;

 protected:
  const Tensor& target_;
  const void* scores_;
  int64_t width_;  // scores of a position
  LabelRule rule_;
  LabelReader labels_;
  int64_t depth_;  // positions of a sample
  int64_t bytes_;  // of a position
  Geometry geometry_;
};

}  // namespace fastmetrics
