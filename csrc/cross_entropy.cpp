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

#include "losses.h"
#include "op.h"
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

constexpr int64_t kRowsAtOnce = 16;  // a cache line of floats, where rows lie side by side

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

class CrossEntropyReader : public LossInputs {
 public:
  CrossEntropyReader(const Tensor& preds, const Tensor& target, std::optional<int64_t> ignore_index)
      : LossInputs("cross_entropy_sums_", preds, target, true, ignore_index),
        layout_{geometry_.inner_a(), preds.stride(1), width_},
        kernels_(with_score_type(preds.scalar_type(), [](auto type) {
          return FM_PICK(kCrossEntropy<decltype(type)>);
        })) {
    require(width_ > 0, "`preds` must have at least one class.");
  }

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

 private:
  RowLayout layout_;
  CrossEntropyKernels kernels_;
};

void cross_entropy_sums_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                            const std::optional<Tensor>& weight,
                            std::optional<int64_t> ignore_index, bool validate) {
  require(state.dim() == 1 && state.size(0) == 2 && state.scalar_type() == ScalarType::Double,
          "the state of cross_entropy_sums_ must be float64 [2].");
  const CrossEntropyReader reader(preds, target, ignore_index);
  const Weights weights(weight, leading_size(target), state);
  reader.add_to(state, events, validate, 1,
                [&](int64_t begin, int64_t end, double* sums, Notes& notes) {
                  reader.sum(begin, end, weights, sums, notes);
                });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<cross_entropy_sums_cpu>(library, "cross_entropy_sums_");
}

}  // namespace fastmetrics
