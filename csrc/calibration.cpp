// calibration_bins_: how confident predictions are, and how often they are right, per bin.
#include <algorithm>
#include <memory>
#include <vector>

#include "fusible.h"
#include "labels.h"
#include "op.h"
#include "parallel.h"
#include "scores.h"
#include "values.h"

namespace fastmetrics {

// With more bins than this a guess in float arithmetic could miss the nearest edge.
constexpr int32_t kMaxGuessedBins = 1 << 14;

// A cell of unweighted sums: the confidences, and a mark of 1 for each, kRightMark more if right.
typedef double BinPair __attribute__((vector_size(16)));
constexpr double kRightMark = 0x1p26;
// Marks are exact up to this many.
constexpr int64_t kMaxMarks = int64_t{1} << 25;
// Tables side by side for few bins.
constexpr int64_t kBinLanes = 4;
// Positions decided side by side when the scores of one class are contiguous.
constexpr int64_t kPlaneTile = 64;

template <class V>
struct ConfidenceKernels {
  void (*sigmoids)(const V* values, int64_t count, V* probs);
  void (*clamp_scores)(const V* values, int64_t count, V* probs);
  void (*screen_scores)(const V* values, int32_t* codes, int64_t count, Notes& notes);
  void (*find_cells)(const V* confidences, const int32_t* codes, int64_t count, const V* edges,
                     int32_t num_bins, int32_t* cells);
  void (*add_pairs)(const V* confidences, const int32_t* codes, const int32_t* cells, int64_t count,
                    int64_t lanes, int64_t pitch, BinPair* table);
};

template <class V>
struct TopKernels {
  void (*read_rows)(const V* rows, int64_t pitch, int64_t num_classes, int64_t count,
                    int32_t* codes, float* tops, float* shares, Notes& notes);
  void (*read_planes)(const V* tile, int64_t pitch, int64_t num_classes, int64_t count,
                      int32_t* codes, float* tops, float* shares, Notes& notes);
};

}  // namespace fastmetrics

#define FM_KERNELS "calibration.inl"
#include "each_isa.h"
#include "score_source.h"

namespace fastmetrics {
namespace {

constexpr const char* kOp = "calibration_bins_";
constexpr int64_t kPositions = 1024;  // decided at a time
constexpr int64_t kFewBins = 256;
// From this many classes on a contiguous row is scanned by itself.
constexpr int64_t kLongRow = 17;

// Where the confidences under each reading go; `logits` is null if nobody asks.
template <class Conf>
struct Readings {
  Conf* probs;
  Conf* logits;
};

// Positions as codes (1 right, 0 wrong, negative: does not count) and a confidence per reading.
template <class Conf>
class ConfidenceReader {
 public:
  virtual ~ConfidenceReader() = default;
  // Decodes positions [begin, begin + count), at most kPositions of them.
  virtual void read(int64_t begin, int64_t count, std::vector<Conf>& buffer, int32_t* codes,
                    const Readings<Conf>& readings, Notes& notes) const = 0;

  [[noreturn]] void raise_bad_label() const {
    const LabelArgument argument{"target", target_, rule_};
    raise_first_bad(kOp, std::span(&argument, 1), rule_.ignore);
  }

  int64_t positions() const { return target_.numel(); }
  int64_t depth() const { return positions() / target_.size(0); }
  int64_t bytes_per_position() const {
    const int64_t scores = preds_.numel() / std::max<int64_t>(1, positions());
    return static_cast<int64_t>(preds_.element_size()) * scores +
           static_cast<int64_t>(target_.element_size());
  }

 protected:
  ConfidenceReader(const Tensor& preds, const Tensor& target, LabelRule rule)
      : preds_(preds), target_(target), rule_(rule), labels_(target, rule) {
    const bool has_axis = preds.dim() > target.dim();
    for (int64_t axis = 0; axis < target.dim(); ++axis) {
      const int64_t from = has_axis && axis > 0 ? axis + 1 : axis;
      require(preds.size(from) == target.size(axis), "`preds` and `target` do not fit.");
      geometry_.push(target.size(axis), preds.stride(from), target.stride(axis));
    }
  }

  const Tensor& preds_;
  const Tensor& target_;
  LabelRule rule_;
  LabelReader labels_;
  Geometry geometry_;
};

// Binary: the score itself is the confidence, the target says whether it is right.
template <class V>
class BinaryReader final : public ConfidenceReader<V> {
 public:
  BinaryReader(const Tensor& preds, const Tensor& target, std::optional<int64_t> ignore_index)
      : ConfidenceReader<V>(preds, target, LabelRule{2, ignore_index}), source_(preds) {}

  void read(int64_t begin, int64_t count, std::vector<V>& buffer, int32_t* codes,
            const Readings<V>& readings, Notes& notes) const override {
    const ConfidenceKernels<V>& kernels = FM_PICK(kConfidences<V>);
    const Geometry& geometry = this->geometry_;
    const V* values = nullptr;
    int64_t done = 0;
    geometry.for_runs(begin, begin + count, [&](int64_t length, int64_t from, int64_t label_from) {
      notes.bad += this->labels_.read(label_from, geometry.inner_b(), length, codes + done);
      if (length == count && geometry.inner_a() == 1 && source_.in_place()) {
        values = source_.at(from);
      } else {
        buffer.resize(kPositions);
        values = buffer.data();
        source_.load(from, geometry.inner_a(), length, buffer.data() + done);
      }
      done += length;
    });
    kernels.screen_scores(values, codes, count, notes);
    kernels.clamp_scores(values, count, readings.probs);
    if (readings.logits != nullptr) {
      kernels.sigmoids(values, count, readings.logits);
    }
  }

 private:
  ScoreSource<V> source_;
};

// Multiclass: the largest probability of a row is the confidence.
template <class V>
class ClassRowReader final : public ConfidenceReader<float> {
 public:
  ClassRowReader(const Tensor& preds, const Tensor& target, std::optional<int64_t> ignore_index)
      : ConfidenceReader<float>(preds, target, LabelRule{preds.size(1), ignore_index}),
        source_(preds),
        num_classes_(preds.size(1)),
        class_stride_(preds.stride(1)),
        as_rows_(num_classes_ >= kLongRow && (class_stride_ == 1 || geometry_.inner_a() != 1)) {}

  void read(int64_t begin, int64_t count, std::vector<float>& buffer, int32_t* codes,
            const Readings<float>& readings, Notes& notes) const override {
    int64_t done = 0;
    geometry_.for_runs(begin, begin + count, [&](int64_t length, int64_t from, int64_t label_from) {
      notes.bad += labels_.read(label_from, geometry_.inner_b(), length, codes + done);
      const Readings<float> outputs{readings.probs + done,
                                    readings.logits == nullptr ? nullptr : readings.logits + done};
      if (as_rows_) {
        read_rows(from, length, scratch_of(buffer, num_classes_), codes + done, outputs, notes);
      } else {
        read_planes(from, length, scratch_of(buffer, num_classes_ * kPlaneTile), codes + done,
                    outputs, notes);
      }
      done += length;
    });
  }

 private:
  // Room for `size` numbers V in a buffer of floats.
  static V* scratch_of(std::vector<float>& buffer, int64_t size) {
    buffer.resize(size * sizeof(V) / sizeof(float) + 64 / sizeof(float));
    const uintptr_t start = reinterpret_cast<uintptr_t>(buffer.data());
    return reinterpret_cast<V*>((start + 63) / 64 * 64);
  }

  void read_rows(int64_t from, int64_t length, V* scratch, int32_t* codes,
                 const Readings<float>& outputs, Notes& notes) const {
    const TopKernels<V>& kernels = FM_PICK(kTops<V>);
    const int64_t pitch = geometry_.inner_a();
    if (class_stride_ == 1 && source_.in_place()) {
      kernels.read_rows(source_.at(from), pitch, num_classes_, length, codes, outputs.probs,
                        outputs.logits, notes);
      return;
    }
    for (int64_t i = 0; i < length; ++i) {
      if (codes[i] >= 0) {
        source_.load(from + i * pitch, class_stride_, num_classes_, scratch);
      }
      kernels.read_rows(scratch, 0, num_classes_, 1, codes + i, outputs.probs + i,
                        outputs.logits == nullptr ? nullptr : outputs.logits + i, notes);
    }
  }

  void read_planes(int64_t from, int64_t length, V* scratch, int32_t* codes,
                   const Readings<float>& outputs, Notes& notes) const {
    const TopKernels<V>& kernels = FM_PICK(kTops<V>);
    const int64_t step = geometry_.inner_a();
    for (int64_t first = 0; first < length; first += kPlaneTile) {
      const int64_t count = std::min(kPlaneTile, length - first);
      const int64_t offset = from + first * step;
      const V* tile = scratch;
      int64_t pitch = kPlaneTile;
      if (count == kPlaneTile && step == 1 && source_.in_place()) {
        tile = source_.at(offset);
        pitch = class_stride_;
      } else {
        for (int64_t c = 0; c < num_classes_; ++c) {
          source_.load(offset + c * class_stride_, step, count, scratch + c * kPlaneTile);
          std::fill(scratch + c * kPlaneTile + count, scratch + (c + 1) * kPlaneTile, V{0});
        }
      }
      kernels.read_planes(tile, pitch, num_classes_, count, codes + first, outputs.probs + first,
                          outputs.logits == nullptr ? nullptr : outputs.logits + first, notes);
    }
  }

  ScoreSource<V> source_;
  int64_t num_classes_;
  int64_t class_stride_;
  bool as_rows_;
};

// The sums of one bin in the state.
constexpr int64_t kColumns = 3;

// Adds positions to sums [H, B, 3] in the order of the positions.
template <class Conf>
class ConfidenceBins final : public LabelJob {
 public:
  ConfidenceBins(std::unique_ptr<ConfidenceReader<Conf>> reader, const Weights& weights,
                 const Tensor& edges, bool logits, Tensor& state, Tensor& events, bool validate,
                 TopProbs* top_probs)
      : LabelJob(events, validate, state.size(0) == 2),
        reader_(std::move(reader)),
        weights_(weights),
        num_readings_(state.size(0)),
        num_bins_(state.size(1)),
        logits_(logits),
        edges_(num_bins_),
        state_(state_data<double>(state)),
        top_probs_(with_logits() ? top_probs : nullptr) {
    if (top_probs_ != nullptr) {
      top_probs_->wanted = true;
    }
    const double* row = static_cast<const double*>(edges.const_data_ptr()) +
                        (std::is_same_v<Conf, double> ? num_bins_ : 0);
    std::transform(row, row + num_bins_, edges_.begin(),
                   [](double edge) { return static_cast<Conf>(edge); });
  }

  // Sums of floats: the partition follows from the sizes alone.
  Extent extent() const override {
    return {reader_->positions(), reader_->bytes_per_position(),
            cells() * static_cast<int64_t>(sizeof(double)), false};
  }

  void open(const Partition& partition) override {
    scratch_ = Scratch<double>(partition.parts, cells());
    marks_.resize(weights_ ? 0 : partition.parts);
    for (size_t part = 0; part < marks_.size(); ++part) {
      const bool many = partition.size_of(static_cast<int64_t>(part)) >= kPositions;
      marks_[part].lanes = num_bins_ <= kFewBins && many ? kBinLanes : 1;
    }
  }

  void add(int64_t part, int64_t begin, int64_t end) override {
    double* sums = scratch_.sums(part);
    Notes notes;
    if (weights_) {
      add_some(part, begin, end, nullptr, sums, notes);
      scratch_.notes(part) += notes;
      return;
    }
    Marks& marks = marks_[part];
    marks.table.resize(num_readings_ * marks.lanes * pitch());
    while (begin < end) {
      if (marks.count == kMaxMarks) {
        unfold(marks, sums);
      }
      const int64_t stop = std::min(end, begin + kMaxMarks - marks.count);
      add_some(part, begin, stop, &marks, sums, notes);
      marks.count += stop - begin;
      begin = stop;
    }
    scratch_.notes(part) += notes;
  }

 protected:
  Notes combine() override {
    for (size_t part = 0; part < marks_.size(); ++part) {
      unfold(marks_[part], scratch_.sums(static_cast<int64_t>(part)));
    }
    return scratch_.combine();
  }
  void raise_bad_label() const override { reader_->raise_bad_label(); }

  void add_to_state() override {
    for (int64_t i = 0; i < cells(); ++i) {
      state_[i] += scratch_.sums(0)[i];
    }
  }

 private:
  // Unweighted sums of a part that are still to be told apart.
  struct Marks {
    int64_t lanes = 1;
    int64_t count = 0;
    std::vector<BinPair> table;
  };

  int64_t cells() const { return num_readings_ * num_bins_ * kColumns; }
  int64_t pitch() const { return num_bins_ + 1; }

  bool with_logits() const { return num_readings_ == 2 || logits_; }

  void add_some(int64_t part, int64_t begin, int64_t end, Marks* marks, double* sums,
                Notes& notes) const {
    const ConfidenceKernels<Conf>& kernels = FM_PICK(kConfidences<Conf>);
    std::vector<Conf> buffer;
    std::array<int32_t, kPositions> codes;
    std::array<int32_t, kPositions> cells;
    std::array<double, kPositions> amounts;
    std::array<std::array<Conf, kPositions>, 2> confidences;
    const Readings<Conf> readings{confidences[0].data(),
                                  with_logits() ? confidences[1].data() : nullptr};
    const TopProbs::Part* known =
        top_probs_ == nullptr || top_probs_->parts.empty() ? nullptr : &top_probs_->parts[part];
    const Conf* const held[2] = {num_readings_ == 2 || !logits_ ? readings.probs : readings.logits,
                                 readings.logits};
    for (int64_t first = begin; first < end; first += kPositions) {
      const int64_t count = std::min(kPositions, end - first);
      if (known == nullptr) {
        reader_->read(first, count, buffer, codes.data(), readings, notes);
      } else {
        reader_->read(first, count, buffer, codes.data(), {readings.probs, nullptr}, notes);
        const float* probs = known->probs.data() + (first - known->begin);
        for (int64_t i = 0; i < count; ++i) {
          readings.logits[i] = codes[i] >= 0 ? static_cast<Conf>(probs[i]) : Conf{0};
        }
      }
      if (weights_) {
        notes.weights += weights_.read(first, first + count, reader_->depth(), amounts.data());
      }
      for (int64_t reading = 0; reading < num_readings_; ++reading) {
        const Conf* own = held[reading];
        kernels.find_cells(own, codes.data(), count, edges_.data(), static_cast<int32_t>(num_bins_),
                           cells.data());
        if (marks == nullptr) {
          add_weighted(own, codes.data(), cells.data(), amounts.data(), count,
                       sums + reading * num_bins_ * kColumns);
        } else {
          kernels.add_pairs(own, codes.data(), cells.data(), count, marks->lanes, pitch(),
                            marks->table.data() + reading * marks->lanes * pitch());
        }
      }
    }
  }

  void add_weighted(const Conf* confidences, const int32_t* codes, const int32_t* cells,
                    const double* amounts, int64_t count, double* sums) const {
    for (int64_t i = 0; i < count; ++i) {
      if (codes[i] < 0) {
        continue;
      }
      const double weight = amounts[i];
      double* cell = sums + cells[i] * kColumns;
      cell[0] += weight;
      cell[1] += weight * static_cast<double>(confidences[i]);
      cell[2] += codes[i] != 0 ? weight : 0.0;
    }
  }

  // Moves what the tables hold into the sums.
  void unfold(Marks& marks, double* sums) const {
    for (int64_t reading = 0; reading < num_readings_; ++reading) {
      for (int64_t lane = 0; lane < marks.lanes; ++lane) {
        const BinPair* pairs = marks.table.data() + (reading * marks.lanes + lane) * pitch();
        double* cell = sums + reading * num_bins_ * kColumns;
        for (int64_t bin = 0; bin < num_bins_; ++bin, cell += kColumns) {
          const double right = std::floor(pairs[bin][1] / kRightMark);
          cell[0] += pairs[bin][1] - right * kRightMark;
          cell[1] += pairs[bin][0];
          cell[2] += right;
        }
      }
    }
    std::fill(marks.table.begin(), marks.table.end(), BinPair{});
    marks.count = 0;
  }

  std::unique_ptr<ConfidenceReader<Conf>> reader_;
  Weights weights_;
  int64_t num_readings_;
  int64_t num_bins_;
  bool logits_;
  std::vector<Conf> edges_;
  double* state_;
  TopProbs* top_probs_;
  std::vector<Marks> marks_;
  Scratch<double> scratch_;
};

std::unique_ptr<Job> calibration_bins_job(Tensor& state, Tensor& events, const Inputs& inputs,
                                          const Tensor& edges, int64_t num_classes, bool logits,
                                          OptionalInt ignore_index, bool validate) {
  const auto& [preds, target, weight, top_probs] = inputs;
  require(
      state.dim() == 3 && state.size(2) == kColumns && state.scalar_type() == ScalarType::Double,
      "the state of calibration_bins_ must be float64 [H, B, 3].");
  require(state.size(0) == 1 || state.size(0) == 2, "a state holds one or two readings.");
  require(edges.dim() == 2 && edges.size(0) == 2 && edges.size(1) == state.size(1) &&
              edges.size(1) > 1 && edges.scalar_type() == ScalarType::Double &&
              edges.is_contiguous(),
          "`edges` must be contiguous float64 [2, B].");
  require(state.size(1) < std::numeric_limits<int32_t>::max() / 4,
          "the state of calibration_bins_ must have fewer than 2^29 bins.");
  const bool multiclass = num_classes > 0;
  const int64_t num_samples = leading_size(target);
  require(preds.dim() == target.dim() + (multiclass ? 1 : 0) &&
              (!multiclass || preds.size(1) == num_classes),
          "`preds` and `target` do not fit.");
  const Weights weights(weight, num_samples, state);
  const auto make = [&](auto confidence, auto reader) -> std::unique_ptr<Job> {
    return std::make_unique<ConfidenceBins<decltype(confidence)>>(std::move(reader), weights, edges,
                                                                  logits, state, events, validate,
                                                                  multiclass ? top_probs : nullptr);
  };
  const bool wide = preds.scalar_type() == ScalarType::Double;
  if (multiclass) {
    return wide ? make(float{},
                       std::make_unique<ClassRowReader<double>>(preds, target, ignore_index))
                : make(float{},
                       std::make_unique<ClassRowReader<float>>(preds, target, ignore_index));
  }
  return wide ? make(double{}, std::make_unique<BinaryReader<double>>(preds, target, ignore_index))
              : make(float{}, std::make_unique<BinaryReader<float>>(preds, target, ignore_index));
}

void calibration_bins_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                          const OptionalTensor& weight, const Tensor& edges, int64_t num_classes,
                          bool logits, OptionalInt ignore_index, bool validate) {
  run_job(*calibration_bins_job(state, events, {preds, target, weight}, edges, num_classes, logits,
                                ignore_index, validate));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<calibration_bins_cpu>(library, "calibration_bins_");
  fuse<calibration_bins_job>("calibration_bins_");
}

}  // namespace fastmetrics
