// hinge_sums_: how far scores stay behind a margin of one, summed over samples.
#include <algorithm>
#include <limits>
#include <vector>

#include "losses.h"
#include "op.h"
#include "scores.h"
#include "values.h"

namespace fastmetrics {

struct HingeKind {
  bool per_class;
  bool squared;
  bool logits;
};

using WidenRows = void (*)(const void* scores, int64_t offset, int64_t pitch, int64_t step,
                           int64_t count, int64_t width, double* rows);

struct HingeKernels {
  void (*mark_targets)(const int32_t* codes, int64_t count, double* amounts, double* signs);
  void (*note_rows)(const double* rows, const int32_t* codes, int64_t count, int64_t width,
                    Notes& notes);
  double (*sum_binary)(const double* scores, const double* signs, const double* amounts,
                       int64_t count, bool squared, bool logits);
  void (*sum_rows)(const double* rows, const int32_t* codes, const double* amounts, int64_t count,
                   int64_t width, const HingeKind& kind, double* padded, double* probs,
                   double* sums);
};

}  // namespace fastmetrics

#define FM_KERNELS "hinge.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

constexpr int64_t kHingeBlock = 1024;  // scores decided at a time
constexpr int64_t kPadding = 8;        // numbers in the widest vector

class HingeReader : public LossInputs {
 public:
  HingeReader(const Tensor& preds, const Tensor& target, bool multiclass, bool squared,
              std::optional<int64_t> ignore_index)
      : LossInputs("hinge_sums_", preds, target, multiclass, ignore_index),
        multiclass_(multiclass),
        squared_(squared),
        step_(multiclass ? preds.stride(1) : geometry_.inner_a()),
        widen_(with_score_type(preds.scalar_type(),
                               [](auto type) { return FM_PICK(kWidenRows<decltype(type)>); })) {}

  int64_t width() const { return width_; }

  // Adds positions [begin, end) to `readings` rows of `losses` sums and an amount each.
  void sum(int64_t begin, int64_t end, const Weights& weights, int64_t readings, int64_t losses,
           bool logits, double* sums, Notes& notes) const {
    const HingeKernels& kernels = FM_PICK(kHinge);
    const int64_t tile = std::max<int64_t>(1, kHingeBlock / width_);
    Block block(tile, width_);
    for (int64_t first = begin; first < end; first += tile) {
      const int64_t count = std::min(tile, end - first);
      read(first, count, block, notes);
      kernels.note_rows(block.rows.data(), block.codes.data(), count, width_, notes);
      kernels.mark_targets(block.codes.data(), count, block.amounts.data(), block.signs.data());
      std::fill_n(block.amounts.data() + count, kPadding, 0.0);
      if (weights) {
        notes.weights += weights.read(first, first + count, depth_, block.weights.data());
        for (int64_t i = 0; i < count; ++i) {
          block.amounts[i] *= block.weights[i];
        }
      }
      double amount = 0.0;
      for (int64_t i = 0; i < count; ++i) {
        amount += block.amounts[i];
      }
      for (int64_t reading = 0; reading < readings; ++reading) {
        double* row = sums + reading * (losses + 1);
        const bool as_logits = readings == 2 ? reading == 1 : logits;
        add_losses(kernels, count, losses > 1, as_logits, block, row);
        row[losses] += amount;
      }
    }
  }

 private:
  struct Block {
    Block(int64_t tile, int64_t width)
        : rows(tile * width + kPadding),
          amounts(tile + kPadding),
          weights(tile),
          signs(tile + kPadding),
          padded(width + kPadding),
          probs(width + kPadding),
          codes(tile) {}

    std::vector<double> rows;
    std::vector<double> amounts;
    std::vector<double> weights;
    std::vector<double> signs;
    std::vector<double> padded;
    std::vector<double> probs;
    std::vector<int32_t> codes;
  };

  void read(int64_t first, int64_t count, Block& block, Notes& notes) const {
    int64_t done = 0;
    geometry_.for_runs(first, first + count, [&](int64_t length, int64_t from, int64_t label_from) {
      int32_t* codes = block.codes.data() + done;
      notes.bad += labels_.read(label_from, geometry_.inner_b(), length, codes);
      widen_(scores_, from, geometry_.inner_a(), step_, length, width_,
             block.rows.data() + done * width_);
      done += length;
    });
  }

  void add_losses(const HingeKernels& kernels, int64_t count, bool per_class, bool logits,
                  Block& block, double* sums) const {
    if (multiclass_) {
      kernels.sum_rows(block.rows.data(), block.codes.data(), block.amounts.data(), count, width_,
                       HingeKind{per_class, squared_, logits}, block.padded.data(),
                       block.probs.data(), sums);
      return;
    }
    sums[0] += kernels.sum_binary(block.rows.data(), block.signs.data(), block.amounts.data(),
                                  count, squared_, logits);
  }

  bool multiclass_;
  bool squared_;
  int64_t step_;
  WidenRows widen_;
};

void hinge_sums_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                    bool multiclass, bool squared, bool logits, const std::optional<Tensor>& weight,
                    std::optional<int64_t> ignore_index, bool validate) {
  require(state.dim() == 2 && (state.size(0) == 1 || state.size(0) == 2) &&
              state.scalar_type() == ScalarType::Double,
          "the state of hinge_sums_ must be float64 [H, K + 1].");
  const int64_t readings = state.size(0);
  const int64_t losses = state.size(1) - 1;
  const HingeReader reader(preds, target, multiclass, squared, ignore_index);
  require(!multiclass || reader.width() > 1, "`preds` must have two classes or more.");
  require(losses == 1 || (multiclass && losses == reader.width()),
          "the state of hinge_sums_ must have one loss, or one for each class.");
  const Weights weights(weight, leading_size(target), state);
  const Notes found = reader.add_to(
      state, events, validate, 64, [&](int64_t begin, int64_t end, double* sums, Notes& notes) {
        reader.sum(begin, end, weights, readings, losses, logits, sums, notes);
      });
  if (readings == 2) {
    events_data(events)[kOutside] += found.outside;
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<hinge_sums_cpu>(library, "hinge_sums_");
}

}  // namespace fastmetrics
