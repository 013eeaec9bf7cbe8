// cross_entropy_sums_: negative logarithms of the softmax probabilities of targets, summed.
//
// A row of scores may be long (a vocabulary), so it is read block by block, each of which fits the
// first cache: the largest score of a block, then the powers of all of them relative to the largest
// so far, while the next block is on its way. Memory is read once, and nothing of the size of a row
// is kept.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "labels.h"
#include "parallel.h"
#include "scores.h"
#include "values.h"

namespace fastmetrics {

// What the scores of a row so far come to. The largest ones are apart from those below: next to
// their ones small powers would vanish, and equal infinities share the row.
struct RowPowers {
  double top = -std::numeric_limits<double>::infinity();
  double below = 0.0;  // sum of exp(score - top)
  int64_t ties = 0;    // scores that are `top`
  bool nan = false;
};

inline constexpr int64_t kRowsAtOnce = 16;  // a cache line of floats, where rows lie side by side

// Scores of rows that begin `pitch` apart, a score `step` after the other.
struct RowLayout {
  int64_t pitch;
  int64_t step;
  int64_t width;
};

struct CrossEntropyKernels {
  // Rows whose code is negative are left out, or read for nothing.
  void (*fold_rows)(const void* scores, int64_t offset, const RowLayout& layout,
                    const int32_t* codes, int64_t count, RowPowers* rows);
  double (*score_at)(const void* scores, int64_t offset);
};

}  // namespace fastmetrics

#define FM_KERNELS "cross_entropy.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

double loss_of(const RowPowers& row, double own) {
  if (row.nan) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  const double gap = own == row.top ? 0.0 : row.top - own;
  return gap + std::log1p(row.below + static_cast<double>(row.ties - 1));
}

class CrossEntropyReader {
 public:
  CrossEntropyReader(const Tensor& preds, const Tensor& target, std::optional<int64_t> ignore_index)
      : target_(target),
        scores_(preds.const_data_ptr()),
        rule_{preds.size(1), ignore_index},
        labels_(target, rule_),
        depth_(target.numel() / target.size(0)) {
    for (int64_t axis = 0; axis < target.dim(); ++axis) {
      geometry_.push(target.size(axis), preds.stride(axis > 0 ? axis + 1 : 0), target.stride(axis));
    }
    layout_ = {geometry_.inner_a(), preds.stride(1), preds.size(1)};
    kernels_ = with_score_type(preds.scalar_type(),
                               [](auto type) { return FM_PICK(kCrossEntropy<decltype(type)>); });
    bytes_ = layout_.width * static_cast<int64_t>(preds.element_size()) +
             static_cast<int64_t>(target.element_size());
  }

  int64_t positions() const { return target_.numel(); }
  int64_t bytes_per_position() const { return bytes_; }

  // Adds losses and amounts of positions [begin, end).
  void sum(int64_t begin, int64_t end, const Weights& weights, double* sums, Notes& notes) const {
    WeightsInOrder amounts(weights, end, depth_);
    int64_t position = begin;
    geometry_.for_runs(begin, end, [&](int64_t length, int64_t from, int64_t label_from) {
      for (int64_t done = 0; done < length; done += kRowsAtOnce) {
        const int64_t count = std::min(kRowsAtOnce, length - done);
        int32_t codes[kRowsAtOnce];
        RowPowers rows[kRowsAtOnce];
        const int64_t label = label_from + done * geometry_.inner_b();
        const int64_t first = from + done * layout_.pitch;
        notes.bad += labels_.read(label, geometry_.inner_b(), count, codes);
        kernels_.fold_rows(scores_, first, layout_, codes, count, rows);
        for (int64_t i = 0; i < count; ++i) {
          const double amount = amounts.at(position++, notes.weights);
          if (codes[i] < 0) {
            continue;
          }
          notes.nan += rows[i].nan;
          sums[1] += amount;
          const int64_t own = first + i * layout_.pitch + codes[i] * layout_.step;
          const double loss = loss_of(rows[i], kernels_.score_at(scores_, own));
          sums[0] += amount == 0.0 ? 0.0 : amount * loss;
        }
      }
    });
  }

  [[noreturn]] void raise_bad_label() const {
    const LabelArgument argument{"target", target_, rule_};
    raise_first_bad("cross_entropy_sums_", std::span(&argument, 1), rule_.ignore);
  }

 private:
  const Tensor& target_;
  const void* scores_;
  LabelRule rule_;
  LabelReader labels_;
  Geometry geometry_;
  RowLayout layout_;
  CrossEntropyKernels kernels_;
  int64_t depth_;
  int64_t bytes_;
};

void cross_entropy_sums_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                            const std::optional<Tensor>& weight,
                            std::optional<int64_t> ignore_index, bool validate) {
  require(state.dim() == 1 && state.size(0) == 2 && state.scalar_type() == ScalarType::Double,
          "the state of cross_entropy_sums_ must be float64 [2].");
  const int64_t num_samples = leading_size(target);
  require(preds.dim() == target.dim() + 1 && preds.size(1) > 0, "`preds` and `target` do not fit.");
  for (int64_t axis = 0; axis < target.dim(); ++axis) {
    require(preds.size(axis > 0 ? axis + 1 : 0) == target.size(axis),
            "`preds` and `target` do not fit.");
  }
  require(is_score_type(preds.scalar_type()), "`preds` must be a float tensor.");
  require(is_label_type(target.scalar_type()), "`target` must be an integer or bool tensor.");
  const Weights weights(weight, num_samples, state);
  if (target.numel() == 0) {
    return;
  }
  int64_t* event_counts = events_data(events);
  double* data = state_data<double>(state);
  const CrossEntropyReader reader(preds, target, ignore_index);
  const Partition partition(reader.positions(), reader.bytes_per_position(), 2 * sizeof(double),
                            false, 1);
  Scratch<double> scratch(partition.parts, 2);
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    reader.sum(begin, end, weights, scratch.sums(part), scratch.notes(part));
  });
  const Notes notes = scratch.combine();
  if (notes.bad > 0 && validate) {
    reader.raise_bad_label();
  }
  data[0] += scratch.sums(0)[0];
  data[1] += scratch.sums(0)[1];
  event_counts[kNan] += notes.nan;
  event_counts[kBadWeight] += notes.weights;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  library.impl("cross_entropy_sums_", TORCH_BOX(&cross_entropy_sums_cpu));
}

}  // namespace fastmetrics
