// calibration_bins_: how confident predictions are, and how often they are right, per bin.
#include <algorithm>
#include <memory>
#include <vector>

#include "labels.h"
#include "parallel.h"
#include "scores.h"
#include "values.h"

namespace fastmetrics {

// With more bins than this a guess in float arithmetic could miss the nearest edge.
inline constexpr int32_t kMaxGuessedBins = 1 << 14;

// A cell of unweighted sums: the confidences, and a mark of 1 for each, kRightMark more if right.
typedef double BinPair __attribute__((vector_size(16)));
inline constexpr double kRightMark = 0x1p26;
// Marks are exact up to this many.
inline constexpr int64_t kMaxMarks = int64_t{1} << 25;
// Tables side by side for few bins.
inline constexpr int64_t kBinLanes = 4;
// Positions decided side by side when the scores of one class are contiguous.
inline constexpr int64_t kPlaneTile = 64;

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

inline constexpr int64_t kPositions = 1024;  // decided at a time
inline constexpr int64_t kFewBins = 256;
// From this many classes on a contiguous row is scanned by itself.
inline constexpr int64_t kLongRow = 17;

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
    raise_first_bad("calibration_bins_", std::span(&argument, 1), rule_.ignore);
  }

  int64_t positions() const { return target_.numel(); }
  int64_t depth() const { return positions() / target_.size(0); }
  int64_t bytes_per_position() const {
    return static_cast<int64_t>(preds_.element_size()) * preds_.numel() / positions() +
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
inline constexpr int64_t kColumns = 3;

// Adds positions to sums [H, B, 3] in the order of the positions.
template <class Conf>
class Tally {
 public:
  Tally(const ConfidenceReader<Conf>& reader, const Weights& weights, const Tensor& edges,
        int64_t num_readings, bool logits)
      : reader_(reader),
        weights_(weights),
        num_readings_(num_readings),
        num_bins_(edges.size(1)),
        logits_(logits),
        edges_(num_bins_) {
    const double* row = static_cast<const double*>(edges.const_data_ptr()) +
                        (std::is_same_v<Conf, double> ? num_bins_ : 0);
    std::transform(row, row + num_bins_, edges_.begin(),
                   [](double edge) { return static_cast<Conf>(edge); });
  }

  int64_t cells() const { return num_readings_ * num_bins_ * kColumns; }

  void add(int64_t begin, int64_t end, double* sums, Notes& notes) const {
    const int64_t lanes = num_bins_ <= kFewBins && end - begin >= kPositions ? kBinLanes : 1;
    std::vector<BinPair> table(weights_ ? 0 : num_readings_ * lanes * pitch());
    for (int64_t start = begin; start < end; start += kMaxMarks) {
      add_some(start, std::min(end, start + kMaxMarks), lanes, table, sums, notes);
      unfold(lanes, table, sums);
    }
  }

 private:
  int64_t pitch() const { return num_bins_ + 1; }

  void add_some(int64_t begin, int64_t end, int64_t lanes, std::vector<BinPair>& table,
                double* sums, Notes& notes) const {
    const ConfidenceKernels<Conf>& kernels = FM_PICK(kConfidences<Conf>);
    std::vector<Conf> buffer;
    std::array<int32_t, kPositions> codes;
    std::array<int32_t, kPositions> cells;
    std::array<std::array<Conf, kPositions>, 2> confidences;
    const bool with_logits = num_readings_ == 2 || logits_;
    const Readings<Conf> readings{confidences[0].data(),
                                  with_logits ? confidences[1].data() : nullptr};
    const Conf* const held[2] = {num_readings_ == 2 || !logits_ ? readings.probs : readings.logits,
                                 readings.logits};
    for (int64_t first = begin; first < end; first += kPositions) {
      const int64_t count = std::min(kPositions, end - first);
      reader_.read(first, count, buffer, codes.data(), readings, notes);
      for (int64_t reading = 0; reading < num_readings_; ++reading) {
        const Conf* own = held[reading];
        kernels.find_cells(own, codes.data(), count, edges_.data(), static_cast<int32_t>(num_bins_),
                           cells.data());
        if (weights_) {
          add_weighted(own, codes.data(), cells.data(), first, count,
                       sums + reading * num_bins_ * kColumns);
        } else {
          kernels.add_pairs(own, codes.data(), cells.data(), count, lanes, pitch(),
                            table.data() + reading * lanes * pitch());
        }
      }
    }
  }

  void add_weighted(const Conf* confidences, const int32_t* codes, const int32_t* cells,
                    int64_t first, int64_t count, double* sums) const {
    const int64_t depth = reader_.depth();
    for (int64_t i = 0; i < count; ++i) {
      if (codes[i] < 0) {
        continue;
      }
      const double weight = weights_[(first + i) / depth];
      double* cell = sums + cells[i] * kColumns;
      cell[0] += weight;
      cell[1] += weight * static_cast<double>(confidences[i]);
      cell[2] += codes[i] != 0 ? weight : 0.0;
    }
  }

  // Moves what the tables hold into the sums.
  void unfold(int64_t lanes, std::vector<BinPair>& table, double* sums) const {
    if (table.empty()) {
      return;
    }
    for (int64_t reading = 0; reading < num_readings_; ++reading) {
      for (int64_t lane = 0; lane < lanes; ++lane) {
        const BinPair* pairs = table.data() + (reading * lanes + lane) * pitch();
        double* cell = sums + reading * num_bins_ * kColumns;
        for (int64_t bin = 0; bin < num_bins_; ++bin, cell += kColumns) {
          const double right = std::floor(pairs[bin][1] / kRightMark);
          cell[0] += pairs[bin][1] - right * kRightMark;
          cell[1] += pairs[bin][0];
          cell[2] += right;
        }
      }
    }
    std::fill(table.begin(), table.end(), BinPair{});
  }

  const ConfidenceReader<Conf>& reader_;
  const Weights& weights_;
  int64_t num_readings_;
  int64_t num_bins_;
  bool logits_;
  std::vector<Conf> edges_;
};

template <class Conf>
Notes add_all(const ConfidenceReader<Conf>& reader, const Tally<Conf>& tally, bool validate,
              double* state) {
  // Sums of floats: the partition follows from the sizes alone.
  const Partition partition(reader.positions(), reader.bytes_per_position(),
                            tally.cells() * static_cast<int64_t>(sizeof(double)), false);
  Scratch<double> scratch(partition.parts, tally.cells());
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    Notes notes;
    tally.add(begin, end, scratch.sums(part), notes);
    scratch.notes(part) = notes;
  });
  const Notes notes = scratch.combine();
  if (notes.bad > 0 && validate) {
    reader.raise_bad_label();
  }
  for (int64_t i = 0; i < tally.cells(); ++i) {
    state[i] += scratch.sums(0)[i];
  }
  return notes;
}

void calibration_bins_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                          const std::optional<Tensor>& weight, const Tensor& edges,
                          int64_t num_classes, bool logits, std::optional<int64_t> ignore_index,
                          bool validate) {
  require(
      state.dim() == 3 && state.size(2) == kColumns && state.scalar_type() == ScalarType::Double,
      "the state of calibration_bins_ must be float64 [H, B, 3].");
  const int64_t num_readings = state.size(0);
  require(num_readings == 1 || num_readings == 2, "a state holds one or two readings.");
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
  if (target.numel() == 0) {
    return;
  }
  double* data = state_data<double>(state);
  int64_t* event_counts = events_data(events);
  const auto run = [&](const auto& reader, auto confidence) {
    const Tally<decltype(confidence)> tally(reader, weights, edges, num_readings, logits);
    return add_all(reader, tally, validate, data);
  };
  const bool wide = preds.scalar_type() == ScalarType::Double;
  Notes notes;
  if (multiclass) {
    notes = wide ? run(ClassRowReader<double>(preds, target, ignore_index), float{})
                 : run(ClassRowReader<float>(preds, target, ignore_index), float{});
  } else {
    notes = wide ? run(BinaryReader<double>(preds, target, ignore_index), double{})
                 : run(BinaryReader<float>(preds, target, ignore_index), float{});
  }
  event_counts[kNan] += notes.nan;
  if (num_readings == 2) {
    event_counts[kOutside] += notes.outside;
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  library.impl("calibration_bins_", TORCH_BOX(&calibration_bins_cpu));
}

}  // namespace fastmetrics
