// score_histogram_: how many scores of each class and target lie between adjacent thresholds.
#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "labels.h"
#include "parallel.h"
#include "scores.h"

namespace fastmetrics {

// How thresholds lie: anywhere, at equal distances in [0, 1], or at the logits of such.
enum class Spacing { kAny, kUniform, kLogit };

// With more thresholds than this a guess in float arithmetic could miss the nearest one.
inline constexpr int64_t kMaxGuessed = 1 << 14;

// Scores are compared as double if they are double, else as float.
template <class T>
using ValueOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class V>
struct EdgeRow {
  const V* edges;  // ascending; NaN for a threshold that no score reaches
  int32_t count;
  Spacing spacing;
};

template <class V>
using LoadScores = void (*)(const void* scores, int64_t offset, int64_t stride, int64_t count,
                            V* values);

template <class V>
struct ScoreKernels {
  void (*find_bins)(const V* values, int64_t count, const EdgeRow<V>& row, int32_t* bins);
  void (*note_scores)(const V* values, const int32_t* codes, int64_t count, Notes& notes);
  void (*note_rows)(const V* values, const int32_t* codes, int64_t count, int64_t width,
                    Notes& notes);
  void (*softmax_rows)(const V* values, int64_t count, int64_t width, double* padded, V* probs);
};

struct LocateKernels {
  void (*scores)(const int32_t* codes, const int32_t* rows, int64_t count, int32_t num_bins,
                 int32_t nowhere, int32_t* cells);
  void (*rows)(const int32_t* codes, int64_t count, int32_t width, int32_t num_bins,
               int32_t nowhere, int32_t* cells);
};

}  // namespace fastmetrics

#define FM_KERNELS "score_histogram.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

inline constexpr int64_t kScores = 1024;  // decided at a time

// A cell of one reading is (class, target, bin); one more takes what does not count.
struct Shape {
  int64_t readings;
  int64_t classes;
  int64_t bins;

  int64_t cells() const { return classes * 2 * bins; }
};

// Walks scores in units (elements, or positions with a score for each class) and names the cells.
class CellReader {
 public:
  // cells: for each reading `count * width()` of them; `first` and `count` are in units.
  using Consume = std::function<void(int64_t first, int64_t count, const int32_t* cells)>;

  virtual ~CellReader() = default;
  virtual void visit(int64_t begin, int64_t end, Notes& notes, const Consume& consume) const = 0;
  [[noreturn]] void raise_bad_label() const {
    const LabelArgument argument{"target", target_, rule_};
    raise_first_bad("score_histogram_", std::span(&argument, 1), rule_.ignore);
  }

  int64_t units() const { return target_.numel(); }
  int64_t units_per_sample() const { return units() / target_.size(0); }
  int64_t width() const { return width_; }
  int64_t bytes_per_unit() const {
    return width_ * static_cast<int64_t>(preds_.element_size()) +
           static_cast<int64_t>(target_.element_size());
  }

 protected:
  CellReader(const Tensor& preds, const Tensor& target, Shape shape, LabelRule rule, int64_t width)
      : preds_(preds), target_(target), shape_(shape), rule_(rule), labels_(target, rule),
        width_(width) {}

  int32_t nowhere() const { return static_cast<int32_t>(shape_.cells()); }
  int32_t num_bins() const { return static_cast<int32_t>(shape_.bins); }
  static const LocateKernels& locate() {
    static const LocateKernels& kernels = FM_PICK(kLocate);
    return kernels;
  }

  const Tensor& preds_;
  const Tensor& target_;
  Shape shape_;
  LabelRule rule_;
  LabelReader labels_;
  Geometry geometry_;
  int64_t width_;
};

// Thresholds in the precision of the scores; rounded up, `score >= threshold` stays as it was.
template <class V>
class EdgeTable {
 public:
  EdgeTable(const Tensor& edges, std::span<const Spacing> spacing)
      : count_(edges.size(1)), values_(edges.numel()), spacing_(spacing.begin(), spacing.end()) {
    const auto* data = static_cast<const double*>(edges.const_data_ptr());
    for (size_t i = 0; i < values_.size(); ++i) {
      values_[i] = -round_down<V>(-data[i]);
    }
  }

  EdgeRow<V> row(int64_t reading) const {
    return EdgeRow<V>{values_.data() + reading * count_, static_cast<int32_t>(count_),
                      spacing_[reading]};
  }

 private:
  int64_t count_;
  std::vector<V> values_;
  std::vector<Spacing> spacing_;
};

// The tensor of scores behind one load function; no copy where its values can be used in place.
template <class V>
class ScoreSource {
 public:
  explicit ScoreSource(const Tensor& preds) : data_(preds.const_data_ptr()) {
    with_score_type(preds.scalar_type(), [&](auto type) {
      using T = decltype(type);
      if constexpr (std::is_same_v<ValueOf<T>, V>) {
        load_ = FM_PICK(kLoadScores<T>);
        in_place_ = std::is_same_v<T, V>;
      }
    });
  }

  void load(int64_t offset, int64_t stride, int64_t count, V* values) const {
    load_(data_, offset, stride, count, values);
  }
  bool in_place() const { return in_place_; }
  const V* at(int64_t offset) const { return static_cast<const V*>(data_) + offset; }

 private:
  const void* data_;
  LoadScores<V> load_ = nullptr;
  bool in_place_ = false;
};

// Binary and multilabel: a unit is an element, its class the index along axis 1.
template <class V>
class LabelCells final : public CellReader {
 public:
  LabelCells(const Tensor& preds, const Tensor& target, Shape shape, LabelRule rule,
             EdgeTable<V> edges)
      : CellReader(preds, target, shape, rule, 1), source_(preds), edges_(std::move(edges)) {
    require(preds.dim() == target.dim(), "`preds` and `target` do not fit.");
    require(shape.classes == 1 || (target.dim() > 1 && target.size(1) == shape.classes),
            "the label axis does not fit the state.");
    for (int64_t axis = 0; axis < target.dim(); ++axis) {
      require(preds.size(axis) == target.size(axis), "`preds` and `target` do not fit.");
      geometry_.push(target.size(axis), preds.stride(axis), target.stride(axis));
    }
    label_size_ = units_per_sample() / shape.classes;
  }

  void visit(int64_t begin, int64_t end, Notes& notes, const Consume& consume) const override {
    const ScoreKernels<V>& kernels = FM_PICK(kScores<V>);
    std::array<V, kScores> buffer;
    std::array<int32_t, kScores> codes;
    std::array<int32_t, kScores> rows;
    std::array<int32_t, 2 * kScores> cells;
    for (int64_t first = begin; first < end; first += kScores) {
      const int64_t count = std::min(kScores, end - first);
      const V* values = read(first, count, buffer.data(), codes.data(), notes);
      kernels.note_scores(values, codes.data(), count, notes);
      if (shape_.classes > 1) {
        find_rows(first, count, rows.data());
      }
      for (int64_t reading = 0; reading < shape_.readings; ++reading) {
        int32_t* own = cells.data() + reading * count;
        kernels.find_bins(values, count, edges_.row(reading), own);
        locate().scores(codes.data(), shape_.classes > 1 ? rows.data() : nullptr, count, num_bins(),
                        nowhere(), own);
      }
      consume(first, count, cells.data());
    }
  }

 private:
  const V* read(int64_t first, int64_t count, V* buffer, int32_t* codes, Notes& notes) const {
    const V* values = buffer;
    int64_t done = 0;
    geometry_.for_runs(first, first + count, [&](int64_t length, int64_t from, int64_t label_from) {
      notes.bad += labels_.read(label_from, geometry_.inner_b(), length, codes + done);
      if (length == count && geometry_.inner_a() == 1 && source_.in_place()) {
        values = source_.at(from);
      } else {
        source_.load(from, geometry_.inner_a(), length, buffer + done);
      }
      done += length;
    });
    return values;
  }

  void find_rows(int64_t first, int64_t count, int32_t* rows) const {
    const int32_t classes = static_cast<int32_t>(shape_.classes);
    int64_t left = label_size_ - first % label_size_;
    int32_t row = static_cast<int32_t>(first / label_size_ % classes);
    for (int64_t i = 0; i < count; ++i) {
      rows[i] = row;
      if (--left == 0) {
        left = label_size_;
        row = row + 1 == classes ? 0 : row + 1;
      }
    }
  }

  ScoreSource<V> source_;
  EdgeTable<V> edges_;
  int64_t label_size_;
};

// Multiclass: a unit is a position with one score per class. Read as probabilities the scores stay
// as they are, read as logits they go through a softmax.
template <class V>
class ClassCells final : public CellReader {
 public:
  ClassCells(const Tensor& preds, const Tensor& target, Shape shape, LabelRule rule,
             EdgeTable<V> edges, bool logits)
      : CellReader(preds, target, shape, rule, shape.classes), source_(preds),
        edges_(std::move(edges)), logits_(logits) {
    require(preds.dim() == target.dim() + 1 && preds.size(1) == shape.classes,
            "`preds` and `target` do not fit.");
    for (int64_t axis = 0; axis < target.dim(); ++axis) {
      const int64_t from = axis > 0 ? axis + 1 : axis;
      require(preds.size(from) == target.size(axis), "`preds` and `target` do not fit.");
      geometry_.push(target.size(axis), preds.stride(from), target.stride(axis));
    }
    class_stride_ = preds.stride(1);
  }

  void visit(int64_t begin, int64_t end, Notes& notes, const Consume& consume) const override {
    const ScoreKernels<V>& kernels = FM_PICK(kScores<V>);
    const int64_t tile = std::max<int64_t>(1, kScores / width_);
    std::vector<V> buffer(tile * width_);
    std::vector<V> probs(tile * width_);
    std::vector<double> padded(width_ + 64);
    std::vector<int32_t> codes(tile);
    std::vector<int32_t> cells(shape_.readings * tile * width_);
    for (int64_t first = begin; first < end; first += tile) {
      const int64_t count = std::min(tile, end - first);
      const V* values = read(first, count, buffer.data(), codes.data(), notes);
      kernels.note_rows(values, codes.data(), count, width_, notes);
      for (int64_t reading = 0; reading < shape_.readings; ++reading) {
        int32_t* own = cells.data() + reading * count * width_;
        const V* scores = values;
        if (shape_.readings == 2 ? reading == 1 : logits_) {
          kernels.softmax_rows(values, count, width_, padded.data(), probs.data());
          scores = probs.data();
        }
        kernels.find_bins(scores, count * width_, edges_.row(reading), own);
        locate().rows(codes.data(), count, static_cast<int32_t>(width_), num_bins(), nowhere(),
                      own);
      }
      consume(first, count, cells.data());
    }
  }

 private:
  const V* read(int64_t first, int64_t count, V* buffer, int32_t* codes, Notes& notes) const {
    const V* values = buffer;
    int64_t done = 0;
    geometry_.for_runs(first, first + count, [&](int64_t length, int64_t from, int64_t label_from) {
      notes.bad += labels_.read(label_from, geometry_.inner_b(), length, codes + done);
      const int64_t pitch = geometry_.inner_a();
      const bool dense = class_stride_ == 1 && (pitch == width_ || length == 1);
      if (dense && length == count && source_.in_place()) {
        values = source_.at(from);
      } else if (dense) {
        source_.load(from, 1, length * width_, buffer + done * width_);
      } else {
        for (int64_t i = 0; i < length; ++i) {
          source_.load(from + i * pitch, class_stride_, width_, buffer + (done + i) * width_);
        }
      }
      done += length;
    });
    return values;
  }

  ScoreSource<V> source_;
  EdgeTable<V> edges_;
  bool logits_;
  int64_t class_stride_;
};

template <class V>
std::unique_ptr<CellReader> make_reader(const Tensor& preds, const Tensor& target,
                                        const Tensor& edges, Shape shape, bool uniform,
                                        bool multiclass, bool logits,
                                        std::optional<int64_t> ignore_index) {
  const bool guess = uniform && edges.size(1) <= kMaxGuessed;
  const auto spacing = [&](bool as_logits) {
    return !guess ? Spacing::kAny
           : as_logits && !multiclass ? Spacing::kLogit
                                      : Spacing::kUniform;
  };
  const std::array<Spacing, 2> all{spacing(shape.readings == 1 && logits), spacing(true)};
  EdgeTable<V> table(edges, std::span(all).first(shape.readings));
  const LabelRule rule{multiclass ? shape.classes : 2, ignore_index};
  if (multiclass) {
    return std::make_unique<ClassCells<V>>(preds, target, shape, rule, std::move(table), logits);
  }
  return std::make_unique<LabelCells<V>>(preds, target, shape, rule, std::move(table));
}

// Counts all cells of a block. Two readings side by side hide each other's store-to-load delays.
template <class Sum>
void count_cells(const int32_t* cells, int64_t count, const Shape& shape, Sum* sums) {
  if (shape.readings == 1) {
    for (int64_t i = 0; i < count; ++i) {
      sums[cells[i]] += 1;
    }
    return;
  }
  Sum* second = sums + shape.cells() + 1;
  for (int64_t i = 0; i < count; ++i) {
    sums[cells[i]] += 1;
    second[cells[count + i]] += 1;
  }
}

// A batch with fewer scores than the state has cells: note the cells, then add them one by one.
template <class Sum>
Notes add_by_list(const CellReader& reader, const Weights& weights, const Shape& shape,
                  bool validate, Sum* state) {
  const int64_t width = reader.width();
  const int64_t scores = reader.units() * width;
  const Partition partition(reader.units(), reader.bytes_per_unit(), 0, true);
  std::vector<int32_t> list(shape.readings * scores);
  Scratch<Sum> scratch(partition.parts, 0);
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    reader.visit(begin, end, scratch.notes(part),
                 [&](int64_t first, int64_t count, const int32_t* cells) {
                   for (int64_t reading = 0; reading < shape.readings; ++reading) {
                     std::copy_n(cells + reading * count * width, count * width,
                                 list.data() + reading * scores + first * width);
                   }
                 });
  });
  const Notes notes = scratch.combine();
  if (notes.bad > 0 && validate) {
    reader.raise_bad_label();
  }
  const int64_t per_sample = reader.units_per_sample() * width;
  for (int64_t reading = 0; reading < shape.readings; ++reading) {
    const int32_t* cells = list.data() + reading * scores;
    Sum* sums = state + reading * shape.cells();
    for (int64_t i = 0; i < scores; ++i) {
      if (cells[i] < shape.cells()) {
        sums[cells[i]] += weights ? static_cast<Sum>(weights[i / per_sample]) : Sum{1};
      }
    }
  }
  return notes;
}

template <class Sum, class StateSum>
Notes add_by_histogram(const CellReader& reader, const Weights& weights, const Shape& shape,
                       bool validate, StateSum* state) {
  const int64_t width = reader.width();
  const int64_t pitch = shape.cells() + 1;
  const int64_t size = shape.readings * pitch;
  const Partition partition(reader.units(), reader.bytes_per_unit(),
                            size * static_cast<int64_t>(sizeof(Sum)), !weights);
  Scratch<Sum> scratch(partition.parts, size);
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    Sum* sums = scratch.sums(part);
    reader.visit(begin, end, scratch.notes(part),
                 [&](int64_t first, int64_t count, const int32_t* cells) {
                   if (!weights) {
                     count_cells(cells, count * width, shape, sums);
                     return;
                   }
                   for (int64_t reading = 0; reading < shape.readings; ++reading) {
                     for (int64_t unit = first; unit < first + count; ++unit) {
                       const Sum weight =
                           static_cast<Sum>(weights[unit / reader.units_per_sample()]);
                       for (int64_t c = 0; c < width; ++c) {
                         sums[reading * pitch + *cells++] += weight;
                       }
                     }
                   }
                 });
  });
  const Notes notes = scratch.combine();
  if (notes.bad > 0 && validate) {
    reader.raise_bad_label();
  }
  for (int64_t reading = 0; reading < shape.readings; ++reading) {
    const Sum* sums = scratch.sums(0) + reading * pitch;
    for (int64_t i = 0; i < shape.cells(); ++i) {
      *state++ += static_cast<StateSum>(sums[i]);
    }
  }
  return notes;
}

void score_histogram_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                         const std::optional<Tensor>& weight, const Tensor& edges, bool uniform,
                         bool multiclass, bool logits, std::optional<int64_t> ignore_index,
                         bool validate) {
  require(state.dim() == 4 && state.size(2) == 2, "the state of score_histogram_ must be [H, C, 2, B].");
  const Shape shape{state.size(0), state.size(1), state.size(3)};
  require(shape.readings == 1 || shape.readings == 2, "a state holds one or two readings.");
  require(edges.dim() == 2 && edges.size(0) == shape.readings && edges.size(1) == shape.bins - 1 &&
              edges.size(1) > 0 && edges.scalar_type() == ScalarType::Double &&
              edges.is_contiguous(),
          "`edges` must be contiguous float64 [H, B - 1].");
  require(shape.cells() < std::numeric_limits<int32_t>::max(),
          "classes times thresholds must stay below 2^30.");
  if (target.numel() == 0) {
    return;
  }
  const bool wide = preds.scalar_type() == ScalarType::Double;
  const auto reader = (wide ? make_reader<double> : make_reader<float>)(
      preds, target, edges, shape, uniform, multiclass, logits, ignore_index);
  const Weights weights(weight);
  int64_t* event_counts = events_data(events);
  with_sum_types(state, weights, [&](auto sum, auto state_sum) {
    auto* data = state_data<decltype(state_sum)>(state);
    const bool sparse = reader->units() * reader->width() < shape.cells();
    const Notes notes =
        sparse ? add_by_list(*reader, weights, shape, validate, data)
               : add_by_histogram<decltype(sum)>(*reader, weights, shape, validate, data);
    event_counts[kNan] += notes.nan;
    if (shape.readings == 2) {
      event_counts[kOutside] += notes.outside;
    }
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  library.impl("score_histogram_", TORCH_BOX(&score_histogram_cpu));
}

}  // namespace fastmetrics
