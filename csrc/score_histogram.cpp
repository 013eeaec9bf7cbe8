// score_histogram_: how many scores of each class and target lie between adjacent thresholds.
// score_image_histogram_: how many share the leading bits of their order-preserving images.
#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "fusible.h"
#include "labels.h"
#include "op.h"
#include "scores.h"
#include "values.h"

namespace fastmetrics {

// How thresholds lie: anywhere, at equal distances in [0, 1], or at the logits of such.
enum class Spacing { kAny, kUniform, kLogit };

// With more thresholds than this a guess in float arithmetic could miss the nearest one.
constexpr int64_t kMaxGuessed = 1 << 14;

template <class V>
struct EdgeRow {
  const V* edges;  // ascending; NaN for a threshold that no score reaches
  int32_t count;
  Spacing spacing;
};

// Which bits of an image are the bin: those above `shift`, in 32 bits or in the 16 of a float16.
struct ImageBits {
  int32_t shift;
  bool half;
};

template <class V>
struct ScoreKernels {
  void (*round_up)(const double* numbers, int64_t count, V* rounded);
  void (*find_bins)(const V* values, int64_t count, const EdgeRow<V>& row, int32_t* bins);
  void (*image_bins)(const V* values, int64_t count, const ImageBits& bits, int32_t* bins);
  void (*split_bins)(const V* values, int64_t count, const V* splits, int32_t step, int32_t* bins);
  void (*note_scores)(const V* values, const int32_t* codes, int64_t count, Notes& notes);
  void (*note_rows)(const V* values, const int32_t* codes, int64_t count, int64_t width,
                    Notes& notes);
  void (*softmax_rows)(const V* values, int64_t count, int64_t width, double* padded, V* probs,
                       float* top_probs);
};

// Where the bins of a class and target begin among all cells, and where uncounted scores go.
struct CellMap {
  int32_t base;
  int32_t num_bins;
  int32_t nowhere;
};

struct LocateKernels {
  void (*scores)(const int32_t* codes, const int32_t* rows, int64_t count, const CellMap& map,
                 int32_t* cells);
  void (*rows)(const int32_t* codes, int64_t count, int32_t width, const CellMap& map,
               int32_t* cells);
};

}  // namespace fastmetrics

#define FM_KERNELS "score_histogram.inl"
#include "each_isa.h"
#include "score_source.h"

namespace fastmetrics {
namespace {

constexpr int64_t kScores = 1024;  // decided at a time

// What all updates take.
struct Batch : Inputs {
  const char* op;
  bool multiclass;
  bool logits;
  OptionalInt ignore_index;
  bool validate;
};

// The state: a cell is (reading, class, target, bin).
struct Shape {
  int64_t readings;
  int64_t classes;
  int64_t bins;

  int64_t reading_cells() const { return classes * 2 * bins; }
  int64_t cells() const { return readings * reading_cells(); }
};

// Walks scores in units (elements, or positions with a score for each class) and names the cells
// that each score counts in. Cells are numbered as in the state; more cells may follow that stand
// for several of those, and the last one takes what does not count.
class CellReader {
 public:
  // `cells` holds `runs` times one cell per score of the units [first, first + count).
  using Consume =
      std::function<void(int64_t first, int64_t count, int64_t runs, const int32_t* cells)>;

  virtual ~CellReader() = default;
  // Writes the largest probability of each unit to `top_probs` if it works out a softmax.
  virtual void visit(int64_t begin, int64_t end, Notes& notes, const Consume& consume,
                     float* top_probs = nullptr) const = 0;
  virtual bool works_out_softmax() const { return false; }

  [[noreturn]] void raise_bad_label() const {
    const LabelArgument argument{"target", target_, rule_};
    raise_first_bad(op_, std::span(&argument, 1), rule_.ignore);
  }

  int64_t units() const { return target_.numel(); }
  int64_t units_per_sample() const { return units() / std::max<int64_t>(1, target_.size(0)); }
  int64_t width() const { return width_; }
  int64_t bytes_per_unit() const {
    return width_ * static_cast<int64_t>(preds_.element_size()) +
           static_cast<int64_t>(target_.element_size());
  }
  int64_t nowhere() const { return shape_.cells() + shared_cells_; }

  // Adds the cells that stand for one of each reading to those two.
  template <class Total>
  void unfold(Total* totals) const {
    const Total* shared = totals + shape_.cells();
    for (int64_t upper = 0; shared_cells_ > 0 && upper < 2; ++upper) {
      Total* first = totals;
      Total* second = totals + shape_.reading_cells() + upper;
      for (int64_t row = 0; row < 2 * shape_.classes; ++row) {
        for (int64_t bin = 0; bin < shape_.bins; ++bin) {
          *first++ += *shared;
          second[second_bins_[bin]] += *shared++;
        }
        second += shape_.bins;
      }
    }
  }

 protected:
  CellReader(const Batch& batch, Shape shape, int64_t width)
      : op_(batch.op),
        preds_(batch.preds),
        target_(batch.target),
        shape_(shape),
        rule_{batch.multiclass ? shape.classes : 2, batch.ignore_index},
        labels_(batch.target, rule_),
        width_(width) {}

  CellMap map_of(int64_t reading) const {
    return CellMap{static_cast<int32_t>(reading * shape_.reading_cells()),
                   static_cast<int32_t>(shape_.bins), static_cast<int32_t>(nowhere())};
  }
  static const LocateKernels& locate() {
    static const LocateKernels& kernels = FM_PICK(kLocate);
    return kernels;
  }

  const char* op_;
  const Tensor& preds_;
  const Tensor& target_;
  Shape shape_;
  LabelRule rule_;
  LabelReader labels_;
  Geometry geometry_;
  int64_t width_;
  int64_t shared_cells_ = 0;
  std::vector<int32_t> second_bins_;
};

// Bins between thresholds in the precision of the scores; rounded up, `score >= threshold` stays as
// it was.
template <class V>
class EdgeTable {
 public:
  static constexpr bool kShares = true;

  EdgeTable(const Tensor& edges, std::span<const Spacing> spacing)
      : count_(edges.size(1)), values_(edges.numel()), spacing_(spacing.begin(), spacing.end()) {
    FM_PICK(kScores<V>)
        .round_up(static_cast<const double*>(edges.const_data_ptr()), edges.numel(),
                  values_.data());
  }

  const V* edges(int64_t reading) const { return values_.data() + reading * count_; }
  void find_bins(const V* values, int64_t count, int64_t reading, int32_t* bins) const {
    const EdgeRow<V> row{edges(reading), static_cast<int32_t>(count_), spacing_[reading]};
    FM_PICK(kScores<V>).find_bins(values, count, row, bins);
  }

 private:
  int64_t count_;
  std::vector<V> values_;
  std::vector<Spacing> spacing_;
};

// Bins of scores with the same leading bits.
template <class V>
class ImageTable {
 public:
  static constexpr bool kShares = false;

  explicit ImageTable(ImageBits bits) : bits_(bits) {}

  void find_bins(const V* values, int64_t count, int64_t, int32_t* bins) const {
    FM_PICK(kScores<V>).image_bins(values, count, bits_, bins);
  }

 private:
  ImageBits bits_;
};

// Binary and multilabel: a unit is an element, its class the index along axis 1.
template <class V, class Table>
class LabelCells final : public CellReader {
 public:
  LabelCells(const Batch& batch, Shape shape, Table table, bool share)
      : CellReader(batch, shape, 1), source_(batch.preds), table_(std::move(table)) {
    const Tensor& preds = batch.preds;
    const Tensor& target = batch.target;
    require(shape.classes == 1 || (target.dim() > 1 && target.size(1) == shape.classes),
            "the label axis does not fit the state.");
    for (int64_t axis = 0; axis < target.dim(); ++axis) {
      require(preds.size(axis) == target.size(axis), "`preds` and `target` do not fit.");
      geometry_.push(target.size(axis), preds.stride(axis), target.stride(axis));
    }
    label_size_ = units_per_sample() / shape.classes;
    if constexpr (Table::kShares) {
      if (share) {
        share_cells();
      }
    }
  }

  void visit(int64_t begin, int64_t end, Notes& notes, const Consume& consume,
             float*) const override {
    const ScoreKernels<V>& kernels = FM_PICK(kScores<V>);
    std::array<V, kScores> buffer;
    std::array<int32_t, kScores> codes;
    std::array<int32_t, kScores> rows;
    std::array<int32_t, 2 * kScores> cells;
    for (int64_t first = begin; first < end; first += kScores) {
      const int64_t count = std::min(kScores, end - first);
      Notes found;
      const V* values = read(first, count, buffer.data(), codes.data(), found);
      kernels.note_scores(values, codes.data(), count, found);
      const int32_t* row_of = nullptr;
      if (shape_.classes > 1) {
        find_rows(first, count, rows.data());
        row_of = rows.data();
      }
      const bool shared = shared_cells_ > 0 && found.nan + found.outside == 0;
      const int64_t runs = shared ? 1 : shape_.readings;
      for (int64_t reading = 0; reading < runs; ++reading) {
        int32_t* own = cells.data() + reading * count;
        table_.find_bins(values, count, reading, own);
        CellMap map = map_of(reading);
        if (shared) {
          kernels.split_bins(values, count, splits_.data(),
                             static_cast<int32_t>(shape_.reading_cells()), own);
          map.base = static_cast<int32_t>(shape_.cells());
        }
        locate().scores(codes.data(), row_of, count, map, own);
      }
      notes += found;
      consume(first, count, runs, cells.data());
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

  // Scores in [0, 1] need one cell for both readings: at most one threshold on logits lies between
  // two adjacent ones on probabilities, so it splits that bin in two.
  void share_cells() {
    const int64_t count = shape_.bins - 1;
    const V* probs = table_.edges(0);
    const V* logits = table_.edges(1);
    splits_.assign(shape_.bins, std::numeric_limits<V>::quiet_NaN());
    second_bins_.assign(shape_.bins, 0);
    int64_t below = 0;
    for (int64_t bin = 1; bin < shape_.bins; ++bin) {
      while (below < count && logits[below] <= probs[bin - 1]) {
        ++below;
      }
      second_bins_[bin] = static_cast<int32_t>(below);
      if (bin < count && below < count && logits[below] < probs[bin]) {
        splits_[bin] = logits[below];
        if (below + 1 < count && logits[below + 1] < probs[bin]) {
          return;
        }
      }
    }
    shared_cells_ = 2 * shape_.reading_cells();
  }

  ScoreSource<V> source_;
  Table table_;
  std::vector<V> splits_;
  int64_t label_size_;
};

// Multiclass: a unit is a position with one score per class. Read as probabilities the scores stay
// as they are, read as logits they go through a softmax.
template <class V, class Table>
class ClassCells final : public CellReader {
 public:
  ClassCells(const Batch& batch, Shape shape, Table table)
      : CellReader(batch, shape, shape.classes),
        source_(batch.preds),
        table_(std::move(table)),
        logits_(batch.logits) {
    const Tensor& preds = batch.preds;
    const Tensor& target = batch.target;
    require(preds.size(1) == shape.classes, "`preds` and `target` do not fit.");
    for (int64_t axis = 0; axis < target.dim(); ++axis) {
      const int64_t from = axis > 0 ? axis + 1 : axis;
      require(preds.size(from) == target.size(axis), "`preds` and `target` do not fit.");
      geometry_.push(target.size(axis), preds.stride(from), target.stride(axis));
    }
    class_stride_ = preds.stride(1);
  }

  bool works_out_softmax() const override { return shape_.readings == 2 || logits_; }

  void visit(int64_t begin, int64_t end, Notes& notes, const Consume& consume,
             float* top_probs) const override {
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
          kernels.softmax_rows(values, count, width_, padded.data(), probs.data(),
                               top_probs == nullptr ? nullptr : top_probs + (first - begin));
          scores = probs.data();
        }
        table_.find_bins(scores, count * width_, reading, own);
        locate().rows(codes.data(), count, static_cast<int32_t>(width_), map_of(reading), own);
      }
      consume(first, count, shape_.readings, cells.data());
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
  Table table_;
  bool logits_;
  int64_t class_stride_;
};

template <class V, class Table>
std::unique_ptr<CellReader> make_reader(const Batch& batch, const Shape& shape, Table table,
                                        bool share) {
  if (batch.multiclass) {
    return std::make_unique<ClassCells<V, Table>>(batch, shape, std::move(table));
  }
  return std::make_unique<LabelCells<V, Table>>(batch, shape, std::move(table), share);
}

template <class V>
std::unique_ptr<CellReader> edge_reader(const Batch& batch, const Shape& shape, const Tensor& edges,
                                        bool uniform, bool dense) {
  const bool guess = uniform && edges.size(1) <= kMaxGuessed;
  const auto spacing = [&](bool as_logits) {
    return !guess                           ? Spacing::kAny
           : as_logits && !batch.multiclass ? Spacing::kLogit
                                            : Spacing::kUniform;
  };
  const std::array<Spacing, 2> all{spacing(shape.readings == 1 && batch.logits), spacing(true)};
  EdgeTable<V> table(edges, std::span(all).first(shape.readings));
  return make_reader<V>(batch, shape, std::move(table), dense && guess && shape.readings == 2);
}

// A batch with fewer scores than the state has cells: note the cells, then add them one by one.
template <class Sum>
class ListedCells final : public LabelJob {
 public:
  ListedCells(std::unique_ptr<CellReader> reader, const Weights& weights, const Shape& shape,
              Tensor& state, Tensor& events, const Batch& batch, bool count_outside)
      : LabelJob(events, batch.validate, count_outside),
        reader_(std::move(reader)),
        weights_(weights),
        shape_(shape),
        state_(state_data<Sum>(state)) {}

  Extent extent() const override { return {reader_->units(), reader_->bytes_per_unit(), 0, true}; }

  void open(const Partition& partition) override {
    list_.resize(shape_.readings * scores());
    amounts_.resize(weights_ ? reader_->units() : 0);
    scratch_ = Scratch<Sum>(partition.parts, 0);
  }

  void add(int64_t part, int64_t begin, int64_t end) override {
    const int64_t width = reader_->width();
    Notes notes;
    reader_->visit(
        begin, end, notes, [&](int64_t first, int64_t count, int64_t runs, const int32_t* cells) {
          for (int64_t run = 0; run < runs; ++run) {
            std::copy_n(cells + run * count * width, count * width,
                        list_.data() + run * scores() + first * width);
          }
          if (weights_) {
            notes.weights += weights_.read(first, first + count, reader_->units_per_sample(),
                                           amounts_.data() + first);
          }
        });
    scratch_.notes(part) += notes;
  }

 protected:
  Notes combine() override { return scratch_.combine(); }
  void raise_bad_label() const override { reader_->raise_bad_label(); }

  void add_to_state() override {
    for (size_t i = 0; i < list_.size(); ++i) {
      if (list_[i] < shape_.cells()) {
        state_[list_[i]] +=
            weights_
                ? static_cast<Sum>(amounts_[static_cast<int64_t>(i) % scores() / reader_->width()])
                : Sum{1};
      }
    }
  }

 private:
  int64_t scores() const { return reader_->units() * reader_->width(); }

  std::unique_ptr<CellReader> reader_;
  Weights weights_;
  Shape shape_;
  Sum* state_;
  std::vector<int32_t> list_;
  std::vector<double> amounts_;  // empty without weights
  Scratch<Sum> scratch_;
};

// Two runs side by side hide each other's delay between a store and a load of the same cell.
template <class Sum>
void count_cells(const int32_t* cells, int64_t count, int64_t runs, Sum* sums) {
  if (runs == 1) {
    for (int64_t i = 0; i < count; ++i) {
      sums[cells[i]] += 1;
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      sums[cells[i]] += 1;
      sums[cells[count + i]] += 1;
    }
  }
}

template <class Sum>
void weigh_cells(const int32_t* cells, const double* amounts, int64_t count, int64_t runs,
                 int64_t width, Sum* sums) {
  for (int64_t run = 0; run < runs; ++run) {
    for (int64_t unit = 0; unit < count; ++unit) {
      const Sum weight = static_cast<Sum>(amounts[unit]);
      for (int64_t c = 0; c < width; ++c) {
        sums[*cells++] += weight;
      }
    }
  }
}

// Counts take half the cache in 32 bits, so they move to the totals before they can overflow.
constexpr int64_t kMostScores = int64_t{1} << 31;

template <class StateSum, class Sum, class Total>
class CellCounts final : public LabelJob {
 public:
  CellCounts(std::unique_ptr<CellReader> reader, const Weights& weights, const Shape& shape,
             Tensor& state, Tensor& events, const Batch& batch, bool count_outside)
      : LabelJob(events, batch.validate, count_outside),
        reader_(std::move(reader)),
        weights_(weights),
        shape_(shape),
        state_(state_data<StateSum>(state)),
        top_probs_(reader_->works_out_softmax() ? batch.top_probs : nullptr) {}

  Extent extent() const override {
    return {reader_->units(), reader_->bytes_per_unit(), size() * static_cast<int64_t>(sizeof(Sum)),
            !weights_};
  }

  void open(const Partition& partition) override {
    scratch_ = Scratch<Sum>(partition.parts, size());
    counted_.resize(partition.parts);
    totals_.resize(size());
    if (top_probs_ != nullptr && top_probs_->wanted) {
      top_probs_->parts.resize(partition.parts);
    }
  }

  void add(int64_t part, int64_t begin, int64_t end) override {
    float* top_probs = nullptr;
    if (top_probs_ != nullptr && top_probs_->wanted) {
      TopProbs::Part& own = top_probs_->parts[part];
      own.begin = begin;
      own.probs.resize(end - begin);
      top_probs = own.probs.data();
    }
    while (begin < end) {
      const int64_t room = weights_ ? end : (kMostScores - counted_[part]) / reader_->width();
      const int64_t stop = std::min(end, begin + room);
      add_some(part, begin, stop, top_probs);
      counted_[part] += (stop - begin) * reader_->width();
      top_probs += top_probs == nullptr ? 0 : stop - begin;
      begin = stop;
      if (begin < end) {
        const std::lock_guard lock(totals_mutex_);
        move_to_totals(part);
      }
    }
  }

  bool leaves_top_probs() const override { return top_probs_ != nullptr; }

 protected:
  Notes combine() override {
    Notes notes;
    for (int64_t part = 0; part < scratch_.parts(); ++part) {
      move_to_totals(part);
      notes += scratch_.notes(part);
    }
    return notes;
  }
  void raise_bad_label() const override { reader_->raise_bad_label(); }

  void add_to_state() override {
    reader_->unfold(totals_.data());
    for (int64_t cell = 0; cell < shape_.cells(); ++cell) {
      state_[cell] += static_cast<StateSum>(totals_[cell]);
    }
  }

 private:
  int64_t size() const { return reader_->nowhere() + 1; }

  void add_some(int64_t part, int64_t begin, int64_t end, float* top_probs) {
    Sum* sums = scratch_.sums(part);
    Notes notes;
    std::array<double, kScores> amounts;
    const auto consume = [&](int64_t first, int64_t count, int64_t runs, const int32_t* cells) {
      if (weights_) {
        notes.weights +=
            weights_.read(first, first + count, reader_->units_per_sample(), amounts.data());
        weigh_cells(cells, amounts.data(), count, runs, reader_->width(), sums);
      } else {
        count_cells(cells, count * reader_->width(), runs, sums);
      }
    };
    reader_->visit(begin, end, notes, consume, top_probs);
    scratch_.notes(part) += notes;
  }

  void move_to_totals(int64_t part) {
    Sum* sums = scratch_.sums(part);
    for (int64_t i = 0; i < size(); ++i) {
      totals_[i] += sums[i];
      sums[i] = 0;
    }
    counted_[part] = 0;
  }

  std::unique_ptr<CellReader> reader_;
  Weights weights_;
  Shape shape_;
  StateSum* state_;
  TopProbs* top_probs_;
  Scratch<Sum> scratch_;
  std::vector<int64_t> counted_;
  std::vector<Total> totals_;
  std::mutex totals_mutex_;
};

Shape shape_of(const Tensor& state) {
  require(state.dim() == 4 && state.size(2) == 2, "the state must be [H, C, 2, B].");
  const Shape shape{state.size(0), state.size(1), state.size(3)};
  require(shape.readings == 1 || shape.readings == 2, "a state holds one or two readings.");
  require(shape.cells() < std::numeric_limits<int32_t>::max() / 4,
          "the state must have fewer than 2^29 cells.");
  return shape;
}

// The job of a batch that is read through make(shape, dense), where a dense batch has at least as
// many scores as the state has cells.
template <class Make>
std::unique_ptr<Job> make_job(Tensor& state, Tensor& events, const Batch& batch, bool count_outside,
                              Make&& make) {
  const Shape shape = shape_of(state);
  const int64_t num_samples = leading_size(batch.target);
  require(batch.preds.dim() == batch.target.dim() + (batch.multiclass ? 1 : 0),
          "`preds` and `target` do not fit.");
  const bool dense = batch.preds.numel() * shape.readings >= shape.cells();
  std::unique_ptr<CellReader> reader = make(shape, dense);
  const Weights weights(batch.weight, num_samples, state);
  return with_sum_types(state, weights, [&](auto sum, auto state_sum) -> std::unique_ptr<Job> {
    using Total = decltype(sum);
    using Sum = std::conditional_t<std::is_same_v<Total, double>, double, uint32_t>;
    using StateSum = decltype(state_sum);
    if (dense) {
      return std::make_unique<CellCounts<StateSum, Sum, Total>>(
          std::move(reader), weights, shape, state, events, batch, count_outside);
    }
    return std::make_unique<ListedCells<StateSum>>(std::move(reader), weights, shape, state, events,
                                                   batch, count_outside);
  });
}

std::unique_ptr<Job> score_histogram_job(Tensor& state, Tensor& events, const Inputs& inputs,
                                         const Tensor& edges, bool uniform, bool multiclass,
                                         bool logits, OptionalInt ignore_index, bool validate) {
  const Shape shape = shape_of(state);
  require(edges.dim() == 2 && edges.size(0) == shape.readings && edges.size(1) == shape.bins - 1 &&
              edges.size(1) > 0 && edges.scalar_type() == ScalarType::Double &&
              edges.is_contiguous(),
          "`edges` must be contiguous float64 [H, B - 1].");
  const Batch batch{inputs, "score_histogram_", multiclass, logits, ignore_index, validate};
  const bool wide = inputs.preds.scalar_type() == ScalarType::Double;
  return make_job(state, events, batch, shape.readings == 2, [&](const Shape& of, bool dense) {
    return (wide ? edge_reader<double> : edge_reader<float>)(batch, of, edges, uniform, dense);
  });
}

void score_histogram_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                         const OptionalTensor& weight, const Tensor& edges, bool uniform,
                         bool multiclass, bool logits, OptionalInt ignore_index, bool validate) {
  run_job(*score_histogram_job(state, events, {preds, target, weight}, edges, uniform, multiclass,
                               logits, ignore_index, validate));
}

void score_image_histogram_cpu(Tensor state, Tensor events, const Tensor& preds,
                               const Tensor& target, const OptionalTensor& weight, bool half,
                               bool multiclass, bool logits, OptionalInt ignore_index,
                               bool validate) {
  const Shape shape = shape_of(state);
  require(shape.bins >= 2 && shape.bins <= 1 << 16 && (shape.bins & (shape.bins - 1)) == 0,
          "the bins of score_image_histogram_ must be a power of two from 2 to 65536.");
  require(shape.readings == 1 || multiclass, "only multiclass scores have two readings.");
  require(!half || preds.scalar_type() == ScalarType::Half, "`half` needs float16 scores.");
  const int32_t bits = std::countr_zero(static_cast<uint64_t>(shape.bins));
  const ImageBits image{(half ? 16 : 32) - bits, half};
  const Batch batch{{preds, target, weight},
                    "score_image_histogram_",
                    multiclass,
                    logits,
                    ignore_index,
                    validate};
  const bool told_apart = !multiclass || shape.readings == 2;
  run_job(*make_job(state, events, batch, told_apart, [&](const Shape& of, bool) {
    return preds.scalar_type() == ScalarType::Double
               ? make_reader<double>(batch, of, ImageTable<double>(image), false)
               : make_reader<float>(batch, of, ImageTable<float>(image), false);
  }));
}

// A row of `areas` from the counts of negatives, and behind them positives, by ascending bin.
template <class T>
void write_areas(const T* counts, int64_t row_stride, int64_t bin_stride, int64_t bins,
                 double* areas) {
  const auto at = [&](int64_t row, int64_t bin) {
    return static_cast<double>(counts[row * row_stride + bin * bin_stride]);
  };
  double pairs = 0.0;
  double negatives = 0.0;
  for (int64_t bin = 0; bin < bins; ++bin) {
    const double tied = at(0, bin);
    pairs += at(1, bin) * (negatives + 0.5 * tied);
    negatives += tied;
  }
  double precisions = 0.0;
  double tp = 0.0;
  double fp = 0.0;
  for (int64_t bin = bins - 1; bin > 0; --bin) {
    const double gained = at(1, bin);
    tp += gained;
    fp += at(0, bin);
    precisions += gained != 0.0 ? gained * tp / (tp + fp) : 0.0;
  }
  areas[0] = pairs;
  areas[1] = precisions;
  areas[2] = negatives;
  areas[3] = bins > 0 ? tp + at(1, 0) : 0.0;
}

// Writes what lies at or above each threshold, from the highest on, and returns the total.
template <class T>
double write_points(const T* counts, int64_t bin_stride, int64_t bins, double* points) {
  double reached = 0.0;
  for (int64_t bin = bins - 1; bin > 0; --bin) {
    reached += static_cast<double>(counts[bin * bin_stride]);
    *points++ = reached;
  }
  return reached + static_cast<double>(counts[0]);
}

// Calls f(first count) for counts [C, 2, B] of either type.
template <class F>
void with_counts(const Tensor& counts, F&& f) {
  require(counts.dim() == 3 && counts.size(1) == 2, "`counts` must be [C, 2, B].");
  if (counts.scalar_type() == ScalarType::Long) {
    f(static_cast<const int64_t*>(counts.const_data_ptr()));
  } else {
    require(counts.scalar_type() == ScalarType::Double, "`counts` must be int64 or float64.");
    f(static_cast<const double*>(counts.const_data_ptr()));
  }
}

void histogram_areas_cpu(Tensor areas, const Tensor& counts) {
  with_counts(counts, [&]<class T>(const T* first) {
    require(areas.scalar_type() == ScalarType::Double && areas.dim() == 2 &&
                areas.size(0) == counts.size(0) && areas.size(1) == 4,
            "`areas` must be float64 [C, 4].");
    double* out = state_data<double>(areas);
    for (int64_t row = 0; row < counts.size(0); ++row) {
      write_areas(first + row * counts.stride(0), counts.stride(1), counts.stride(2),
                  counts.size(2), out + 4 * row);
    }
  });
}

void histogram_points_cpu(Tensor fps, Tensor tps, Tensor totals, const Tensor& counts) {
  with_counts(counts, [&]<class T>(const T* first) {
    const int64_t curves = counts.size(0);
    const int64_t points = counts.size(2) - 1;
    for (const Tensor* out : {&fps, &tps}) {
      require(points >= 0 && out->scalar_type() == ScalarType::Double && out->dim() == 2 &&
                  out->size(0) == curves && out->size(1) == points,
              "`fps` and `tps` must be float64 [C, B - 1].");
    }
    require(totals.scalar_type() == ScalarType::Double && totals.dim() == 2 &&
                totals.size(0) == 2 && totals.size(1) == curves,
            "`totals` must be float64 [2, C].");
    double* whole = state_data<double>(totals);
    double* reached[] = {state_data<double>(fps), state_data<double>(tps)};
    for (int64_t curve = 0; curve < curves; ++curve) {
      for (int64_t label = 0; label < 2; ++label) {
        const T* from = first + curve * counts.stride(0) + label * counts.stride(1);
        whole[label * curves + curve] =
            write_points(from, counts.stride(2), counts.size(2), reached[label] + curve * points);
      }
    }
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<score_histogram_cpu>(library, "score_histogram_");
  fuse<score_histogram_job>("score_histogram_");
  register_op<score_image_histogram_cpu>(library, "score_image_histogram_");
  register_op<histogram_areas_cpu>(library, "histogram_areas_");
  register_op<histogram_points_cpu>(library, "histogram_points_");
}

}  // namespace fastmetrics
