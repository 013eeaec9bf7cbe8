// bootstrap_counts_ and bootstrap_weights_: each sample counts in every replica as often as a
// Poisson variable of mean 1 says, which follows from a seed, the number of the sample and that of
// the replica alone.
//
// The replicas lie innermost: the weights of a sample are drawn side by side in vector registers,
// and added to the rows of its class. Rows hold 16 bits, and are emptied before they can overflow.
#include <bit>
#include <cstring>
#include <limits>

#include "classes.h"
#include "job.h"
#include "op.h"

namespace fastmetrics {

static_assert(std::endian::native == std::endian::little, "the halves of a word are in order");

constexpr int64_t kLanes = 16;  // replicas side by side, or a multiple of those
// Above how many of the 65536 values of 16 bits, as signed numbers, a weight is at least 1, 2, ...:
// those of a Poisson variable of mean 1, rounded so that the mean is exactly 1.
constexpr std::array<int16_t, 7> kThresholds{-8660, 15450, 27504, 31523, 32527, 32728, 32761};
// Rows per class: the rest follows when the batch is done.
enum Tally : int64_t { kTp = 0, kFp = 1, kFn = 2 };
constexpr int64_t kTallies = 3;

inline int64_t padded_lanes(int64_t replicas) { return (replicas + kLanes - 1) / kLanes * kLanes; }

struct BootstrapKernels {
  void (*sample_keys)(const int64_t* numbers, int64_t count, uint64_t seed, uint64_t* keys);
  void (*write_weights)(const uint64_t* keys, int64_t count, int64_t replicas, uint16_t* lanes,
                        uint8_t* weights);
  void (*tally_replicas)(const int32_t* target, const int32_t* pred, const uint64_t* keys,
                         int64_t count, int64_t lanes, uint16_t* rows);
};

}  // namespace fastmetrics

#define FM_KERNELS "bootstrap.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

const BootstrapKernels& kernels() { return FM_PICK(kBootstrap); }

// The numbers of the samples of a batch: given, or counted from `seen` on.
class Numbers {
 public:
  Numbers(Tensor& seen, const std::optional<Tensor>& numbers, int64_t samples, int64_t seed,
          int64_t offset, int64_t step)
      : seed_(static_cast<uint64_t>(seed)), offset_(offset), step_(step) {
    require(seen.scalar_type() == ScalarType::Long && seen.numel() == 1,
            "`seen` must be int64 [1].");
    seen_ = state_data<int64_t>(seen);
    if (numbers.has_value()) {
      require(numbers->scalar_type() == ScalarType::Long && numbers->dim() == 1 &&
                  numbers->size(0) == samples,
              "`numbers` must be int64 [N].");
      given_ = static_cast<const int64_t*>(numbers->const_data_ptr());
      stride_ = numbers->stride(0);
    }
  }

  // Keys of the samples of positions [begin, end), at most kBlock, of which each has `depth`.
  void keys(int64_t begin, int64_t end, int64_t depth, uint64_t* keys) const {
    std::array<int64_t, kBlock> numbers;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t sample = i / depth;
      const uint64_t counted =
          static_cast<uint64_t>(*seen_ + sample) * static_cast<uint64_t>(step_);
      numbers[i - begin] = given_ != nullptr
                               ? given_[sample * stride_]
                               : static_cast<int64_t>(counted + static_cast<uint64_t>(offset_));
    }
    kernels().sample_keys(numbers.data(), end - begin, seed_, keys);
  }

  void count(int64_t samples) const { *seen_ += given_ != nullptr ? 0 : samples; }

 private:
  uint64_t seed_;
  int64_t offset_;
  int64_t step_;
  int64_t* seen_;
  const int64_t* given_ = nullptr;
  int64_t stride_ = 0;
};

// Counts of each class in each replica.
class ReplicaCounts final : public LabelJob {
 public:
  ReplicaCounts(const ClassReader& reader, const Numbers& numbers, int64_t num_classes,
                Tensor& state, Tensor& events, bool validate)
      : LabelJob(events, validate),
        reader_(reader),
        numbers_(numbers),
        num_classes_(num_classes),
        replicas_(state.size(0)),
        lanes_(padded_lanes(replicas_)),
        state_(state_data<int64_t>(state)) {}

  Extent extent() const override {
    return {reader_.positions(), reader_.bytes_per_position() + lanes_,
            size() * static_cast<int64_t>(sizeof(int64_t)), true};
  }

  void open(const Partition& partition) override {
    scratch_ = Scratch<int64_t>(partition.parts, size());
  }

  void add(int64_t part, int64_t begin, int64_t end) override {
    std::vector<uint16_t> rows(size());
    std::vector<uint64_t> keys(kBlock);
    Notes notes;
    ClassBlock block;
    int64_t held = 0;
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t count = std::min(end - first, kBlock);
      if (held + count > kMostHeld) {
        empty(rows, scratch_.sums(part));
        held = 0;
      }
      held += count;
      reader_.read(first, first + count, block, notes);
      numbers_.keys(first, first + count, reader_.depth(), keys.data());
      kernels().tally_replicas(block.target.data(), block.pred.data(), keys.data(), count, lanes_,
                               rows.data());
    }
    empty(rows, scratch_.sums(part));
    scratch_.notes(part) += notes;
  }

 protected:
  Notes combine() override { return scratch_.combine(); }
  void raise_bad_label() const override { reader_.raise_bad_label(); }

  void add_to_state() override {
    const int64_t* sums = scratch_.sums(0);
    for (int64_t r = 0; r < replicas_; ++r) {
      int64_t all = 0;
      for (int64_t c = 0; c < num_classes_; ++c) {
        const int64_t* row = sums + c * kTallies * lanes_ + r;
        all += row[kTp * lanes_] + row[kFn * lanes_];
      }
      for (int64_t c = 0; c < num_classes_; ++c) {
        const int64_t* row = sums + c * kTallies * lanes_ + r;
        const int64_t tp = row[kTp * lanes_];
        const int64_t fp = row[kFp * lanes_];
        const int64_t fn = row[kFn * lanes_];
        int64_t* out = state_ + (r * num_classes_ + c) * 4;
        out[0] += tp;
        out[1] += fp;
        out[2] += all - tp - fp - fn;
        out[3] += fn;
      }
    }
    numbers_.count(reader_.num_samples());
  }

 private:
  // What a row can take before it overflows.
  static constexpr int64_t kMostHeld =
      std::numeric_limits<uint16_t>::max() / static_cast<int64_t>(kThresholds.size());

  int64_t size() const { return num_classes_ * kTallies * lanes_; }

  static void empty(std::vector<uint16_t>& rows, int64_t* sums) {
    for (size_t i = 0; i < rows.size(); ++i) {
      sums[i] += rows[i];
    }
    std::fill(rows.begin(), rows.end(), uint16_t{0});
  }

  ClassReader reader_;
  Numbers numbers_;
  int64_t num_classes_;
  int64_t replicas_;
  int64_t lanes_;
  int64_t* state_;
  Scratch<int64_t> scratch_;
};

void bootstrap_counts_cpu(Tensor state, Tensor events, Tensor seen, const Tensor& preds,
                          const Tensor& target, const std::optional<Tensor>& numbers,
                          int64_t num_classes, std::optional<int64_t> ignore_index, bool validate,
                          int64_t seed, int64_t offset, int64_t step) {
  const ClassReader reader("bootstrap_counts_", preds, target, num_classes, 1, ignore_index);
  require(state.scalar_type() == ScalarType::Long && state.dim() == 3 && num_classes > 0 &&
              state.size(1) == num_classes && state.size(2) == 4,
          "the state of bootstrap_counts_ must be int64 [R, C, 4].");
  const Numbers numbered(seen, numbers, reader.num_samples(), seed, offset, step);
  if (reader.positions() == 0) {
    numbered.count(reader.num_samples());
    return;
  }
  ReplicaCounts job(reader, numbered, num_classes, state, events, validate);
  run_job(job);
}

void bootstrap_weights_cpu(Tensor state, Tensor seen, const std::optional<Tensor>& numbers,
                           int64_t seed, int64_t offset, int64_t step) {
  require(state.scalar_type() == ScalarType::Byte && state.dim() == 2,
          "the weights of bootstrap_weights_ must be uint8 [N, R].");
  const int64_t samples = state.size(0);
  const int64_t replicas = state.size(1);
  const Numbers numbered(seen, numbers, samples, seed, offset, step);
  uint8_t* weights = state_data<uint8_t>(state);
  const Partition partition(samples, padded_lanes(replicas), 0, true);
  partition.run([&](int64_t, int64_t begin, int64_t end) {
    std::vector<uint16_t> lanes(padded_lanes(replicas));
    std::vector<uint64_t> keys(kBlock);
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t count = std::min(end - first, kBlock);
      numbered.keys(first, first + count, 1, keys.data());
      kernels().write_weights(keys.data(), count, replicas, lanes.data(),
                              weights + first * replicas);
    }
  });
  numbered.count(samples);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<bootstrap_counts_cpu>(library, "bootstrap_counts_");
  register_op<bootstrap_weights_cpu>(library, "bootstrap_weights_");
}

}  // namespace fastmetrics
