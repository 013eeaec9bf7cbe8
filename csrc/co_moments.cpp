// co_moments_: counts, means, second moments and co-moments of predictions and targets per output.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "fusible.h"
#include "simd.h"

namespace fastmetrics {

// Pairs of predictions and targets as a matrix: `rows` times `width` columns.
template <class V>
struct Tile {
  const V* preds;
  const V* target;
  const double* weight;  // one per pair, without gaps; null when every pair counts once
  int64_t preds_pitch;
  int64_t target_pitch;
  int64_t rows;
  int64_t width;
};

inline constexpr int kNumSums = 9;

template <class V>
using AddPairs = void (*)(const Tile<V>& tile, const double* shifts, double* sums, int64_t stride);

template <class V>
struct PairKernels {
  int lanes;
  AddPairs<V> add;
  AddPairs<V> add_weighted;
};

template <class V>
using LoadNumbers = void (*)(const void* data, int64_t offset, int64_t stride, int64_t count,
                             V* numbers);

struct WeightSummary {
  double count;
  double sum;
  int64_t largest;
};
using SumWeights = WeightSummary (*)(const double* weights, int64_t count);

template <class T, class V>
struct Conversion {
  using From = T;
  using To = V;
};

}  // namespace fastmetrics

#define FM_KERNELS "co_moments.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

// A row of the state; fastmetrics/ops/co_moments.py documents the columns.
struct Moments {
  double count;
  double weight;
  double mean_x;
  double mean_y;
  double mean_d;
  double xx;
  double yy;
  double dd;
  double xy;
  double low;
  double high;
  double wide;

  // Chan's rule for two parts of the data.
  void merge(const Moments& other) {
    const double any_wide = std::max(wide, other.wide);
    if (other.weight != 0) {
      if (weight == 0) {
        *this = other;
      } else {
        add(other);
      }
    }
    wide = any_wide;
  }

 private:
  void add(const Moments& other) {
    const double total = weight + other.weight;
    const double share = other.weight / total;
    const double both = weight * share;
    const double step_x = other.mean_x - mean_x;
    const double step_y = other.mean_y - mean_y;
    const double step_d = other.mean_d - mean_d;
    count += other.count;
    weight = total;
    mean_x += step_x * share;
    mean_y += step_y * share;
    mean_d += step_d * share;
    xx += other.xx + step_x * step_x * both;
    yy += other.yy + step_y * step_y * both;
    dd += other.dd + step_d * step_d * both;
    xy += other.xy + step_x * step_y * both;
    low = std::min(low, other.low);
    high = std::max(high, other.high);
  }
};
inline constexpr int64_t kColumns = sizeof(Moments) / sizeof(double);

// Pairs of one output that share a shift, and columns handled at a time. Cancellation costs at most
// the number of pairs in rounding errors, because the shift is one of the values.
inline constexpr int64_t kPairsPerBlock = 2048;
inline constexpr int64_t kRowsPerBlock = 64;
inline constexpr int64_t kWidth = 256;

bool is_small_float(ScalarType type) {
  return type == ScalarType::Half || type == ScalarType::BFloat16 || type == ScalarType::Float;
}

// A tensor of numbers, seen as N rows of D outputs.
template <class V>
class NumberSource {
 public:
  NumberSource(const Tensor& tensor, int64_t outputs)
      : data_(tensor.const_data_ptr()),
        row_stride_(tensor.stride(0)),
        column_stride_(tensor.dim() > 1 && outputs > 1 ? tensor.stride(1) : 1) {
    const auto choose = [&](auto type) {
      using T = decltype(type);
      if constexpr (std::is_same_v<V, double> || sizeof(T) == 2 || std::is_same_v<T, float>) {
        using Both = Conversion<T, V>;
        load_ = FM_PICK(kLoadNumbers<Both>);
        in_place_ = std::is_same_v<T, V>;
      }
    };
    const ScalarType type = tensor.scalar_type();
    if (is_score_type(type)) {
      with_score_type(type, choose);
    } else {
      require(is_label_type(type), "inputs must be real tensors.");
      if constexpr (std::is_same_v<V, double>) {
        with_label_type(type, choose);
      }
    }
  }

  // Single numbers, copied.
  void read(int64_t first, int64_t count, V* numbers) const {
    load_(data_, first * row_stride_, row_stride_, count, numbers);
  }

  bool walks_columns() const { return row_stride_ < column_stride_; }

  // Rows [first, first + rows) of columns [column, column + width), in place or copied to `buffer`.
  const V* read(int64_t first, int64_t rows, int64_t column, int64_t width, bool dense, V* buffer,
                int64_t* pitch) const {
    const int64_t offset = first * row_stride_ + column * column_stride_;
    if (in_place_ &&
        (width == 1 ? row_stride_ == 1 : column_stride_ == 1 && (row_stride_ == width || !dense))) {
      *pitch = row_stride_;
      return static_cast<const V*>(data_) + offset;
    }
    *pitch = width;
    if (width == 1) {
      load_(data_, offset, row_stride_, rows, buffer);
    } else if (column_stride_ == 1 && row_stride_ == width) {
      load_(data_, offset, 1, rows * width, buffer);
    } else {
      for (int64_t row = 0; row < rows; ++row) {
        load_(data_, offset + row * row_stride_, column_stride_, width, buffer + row * width);
      }
    }
    return buffer;
  }

 private:
  const void* data_;
  int64_t row_stride_;
  int64_t column_stride_;
  LoadNumbers<V> load_ = nullptr;
  bool in_place_ = false;
};

// What one part of the data needs while it is read.
template <class V>
class BlockReader {
 public:
  BlockReader(const NumberSource<V>& preds, const NumberSource<V>& target,
              const NumberSource<double>* weights, int64_t width, int64_t rows, bool whole_rows)
      : preds_(preds),
        target_(target),
        weights_(weights),
        kernels_(FM_PICK(kPairs<V>)),
        sum_weights_(FM_PICK(kSumWeights)) {
    // Several rows side by side fill the vectors: the columns of one output are then added up.
    const int64_t folded = std::lcm(width, static_cast<int64_t>(kernels_.lanes));
    dense_ = whole_rows && folded <= kWidth;
    stride_ = dense_ ? folded : width;
    shifts_.resize(3 * stride_);
    sums_.resize(kNumSums * stride_);
    buffer_ = std::make_unique_for_overwrite<V[]>(2 * rows * width);
    if (weights != nullptr) {
      row_weights_.resize(rows);
      pair_weights_.resize(width > 1 ? rows * width : 0);
    }
  }

  // Merges the block of rows [first, first + rows) and columns [column, column + width).
  void merge(int64_t first, int64_t rows, int64_t column, int64_t width, Moments* moments) {
    Moments block{};
    block.count = static_cast<double>(rows);
    block.weight = block.count;
    int64_t pivot = 0;
    if (weights_ != nullptr) {
      pivot = read_weights(first, rows, width, block);
      if (block.count == 0) {
        return;
      }
    }
    Tile<V> tile{};
    V* spare = buffer_.get();
    tile.preds = preds_.read(first, rows, column, width, dense_, spare, &tile.preds_pitch);
    tile.target =
        target_.read(first, rows, column, width, dense_, spare + rows * width, &tile.target_pitch);
    tile.weight = weights_ == nullptr ? nullptr
                  : width > 1         ? pair_weights_.data()
                                      : row_weights_.data();
    start(tile, pivot, width);
    tile.rows = rows;
    tile.width = width;
    add(tile);
    for (int64_t i = 0; i < width; ++i) {
      finish(i, width, block);
      moments[column + i].merge(block);
    }
  }

 private:
  // Reads one weight per row, and spreads them over the columns; returns the row of the largest.
  int64_t read_weights(int64_t first, int64_t rows, int64_t width, Moments& block) {
    weights_->read(first, rows, row_weights_.data());
    replace_bad_weights(row_weights_.data(), rows, std::numeric_limits<double>::quiet_NaN());
    const WeightSummary found = sum_weights_(row_weights_.data(), rows);
    block.count = found.count;
    block.weight = found.sum;
    if (width > 1) {
      for (int64_t row = 0; row < rows; ++row) {
        std::fill_n(pair_weights_.data() + row * width, width, row_weights_[row]);
      }
    }
    return found.largest;
  }

  void start(const Tile<V>& tile, int64_t pivot, int64_t width) {
    const V* preds = tile.preds + pivot * tile.preds_pitch;
    const V* target = tile.target + pivot * tile.target_pitch;
    for (int64_t i = 0; i < stride_; ++i) {
      const double x = preds[i % width];
      const double y = target[i % width];
      shifts_[i] = x;
      shifts_[stride_ + i] = y;
      shifts_[2 * stride_ + i] = y - x;
    }
    const double infinity = std::numeric_limits<double>::infinity();
    std::fill(sums_.begin(), sums_.end() - 2 * stride_, 0.0);
    std::fill(sums_.end() - 2 * stride_, sums_.end() - stride_, infinity);
    std::fill(sums_.end() - stride_, sums_.end(), -infinity);
  }

  void add(Tile<V> tile) {
    const AddPairs<V> add_pairs = weights_ != nullptr ? kernels_.add_weighted : kernels_.add;
    if (dense_) {
      const int64_t pairs = tile.rows * tile.width;
      tile.preds_pitch = tile.target_pitch = tile.width = stride_;
      tile.rows = pairs / stride_;
      add_pairs(tile, shifts_.data(), sums_.data(), stride_);
      const int64_t done = tile.rows * stride_;
      tile.preds += done;
      tile.target += done;
      tile.weight += weights_ != nullptr ? done : 0;
      tile.rows = 1;
      tile.width = pairs - done;
    }
    add_pairs(tile, shifts_.data(), sums_.data(), stride_);
  }

  void finish(int64_t output, int64_t width, Moments& block) const {
    std::array<double, kNumSums> sum;
    for (int i = 0; i < kNumSums; ++i) {
      const double* sums = sums_.data() + i * stride_;
      sum[i] = sums[output];
      for (int64_t column = output + width; column < stride_; column += width) {
        sum[i] = i < kNumSums - 2    ? sum[i] + sums[column]
                 : i == kNumSums - 2 ? std::min(sum[i], sums[column])
                                     : std::max(sum[i], sums[column]);
      }
    }
    const auto [x, y, d, xx, yy, dd, xy, low, high] = sum;
    const auto positive = [](double moment) { return moment < 0 ? 0.0 : moment; };
    const double weight = block.weight;
    block.mean_x = shifts_[output] + x / weight;
    block.mean_y = shifts_[stride_ + output] + y / weight;
    block.mean_d = shifts_[2 * stride_ + output] + d / weight;
    block.xx = positive(xx - x * (x / weight));
    block.yy = positive(yy - y * (y / weight));
    block.dd = positive(dd - d * (d / weight));
    block.xy = xy - x * (y / weight);
    block.low = low;
    block.high = high;
  }

  const NumberSource<V>& preds_;
  const NumberSource<V>& target_;
  const NumberSource<double>* weights_;
  const PairKernels<V>& kernels_;
  SumWeights sum_weights_;
  bool dense_;
  int64_t stride_;
  std::vector<double> shifts_;
  std::vector<double> sums_;
  std::unique_ptr<V[]> buffer_;  // for what cannot be used in place
  std::vector<double> row_weights_;
  std::vector<double> pair_weights_;
};

Moments* moments_data(Tensor& state) {
  require(
      state.dim() == 2 && state.size(1) == kColumns && state.scalar_type() == ScalarType::Double,
      "the state of co_moments_ must be float64 [D, 12].");
  return reinterpret_cast<Moments*>(state_data<double>(state));
}

template <class V>
class CoMoments final : public Job {
 public:
  CoMoments(const Inputs& inputs, Tensor& state)
      : outputs_(state.size(0)),
        count_(inputs.preds.size(0)),
        preds_(inputs.preds, outputs_),
        target_(inputs.target, outputs_),
        bytes_each_(static_cast<int64_t>(inputs.preds.element_size()) +
                    static_cast<int64_t>(inputs.target.element_size())),
        wide_(inputs.preds.scalar_type() == ScalarType::Double ||
              inputs.target.scalar_type() == ScalarType::Double),
        state_(moments_data(state)) {
    if (inputs.weight.has_value()) {
      weights_.emplace(*inputs.weight, 1);
    }
    const bool by_column = outputs_ > 1 && preds_.walks_columns() && target_.walks_columns();
    width_ = by_column ? 1 : std::min(outputs_, kWidth);
    rows_ =
        std::min(count_, std::max(kRowsPerBlock, kPairsPerBlock / std::max<int64_t>(1, width_)));
  }

  Extent extent() const override {
    return {outputs_ == 0 ? 0 : count_, outputs_ * bytes_each_,
            outputs_ * static_cast<int64_t>(sizeof(Moments)), false};
  }

  void open(const Partition& partition) override {
    found_.resize(partition.parts * outputs_);
    readers_.resize(partition.parts);
  }

  void add(int64_t part, int64_t begin, int64_t end) override {
    std::optional<BlockReader<V>>& reader = readers_[part];
    if (!reader.has_value()) {
      reader.emplace(preds_, target_, weights_ ? &*weights_ : nullptr, width_, rows_,
                     width_ == 1 || width_ == outputs_);
    }
    for (int64_t first = begin; first < end; first += rows_) {
      for (int64_t column = 0; column < outputs_; column += width_) {
        reader->merge(first, std::min(rows_, end - first), column,
                      std::min(width_, outputs_ - column), found_.data() + part * outputs_);
      }
    }
  }

  void check() override {}

  void commit() override {
    for (size_t i = 0; i < found_.size(); ++i) {
      state_[static_cast<int64_t>(i) % outputs_].merge(found_[i]);
    }
    for (int64_t i = 0; wide_ && i < outputs_; ++i) {
      state_[i].wide = 1;
    }
  }

 private:
  int64_t outputs_;
  int64_t count_;
  NumberSource<V> preds_;
  NumberSource<V> target_;
  std::optional<NumberSource<double>> weights_;
  int64_t bytes_each_;
  bool wide_;
  Moments* state_;
  int64_t width_;
  int64_t rows_;
  std::vector<Moments> found_;
  std::vector<std::optional<BlockReader<V>>> readers_;
};

std::unique_ptr<Job> co_moments_job(Tensor& state, const Inputs& inputs) {
  const auto& [preds, target, weight, top_probs] = inputs;
  moments_data(state);
  const int64_t outputs = state.size(0);
  const int64_t num_samples = leading_size(preds);
  require(preds.dim() <= 2 && preds.dim() == target.dim() && target.size(0) == num_samples,
          "`preds` and `target` must have the same shape, [N] or [N, D].");
  require(preds.dim() == 1 ? outputs == 1 : preds.size(1) == outputs && target.size(1) == outputs,
          "`preds` and `target` do not fit the state.");
  require(!weight.has_value() || (weight->dim() == 1 && weight->size(0) == num_samples),
          "`weight` must have one entry per sample.");
  const ScalarType preds_type = preds.scalar_type();
  const ScalarType target_type = target.scalar_type();
  const auto known = [](ScalarType type) { return is_score_type(type) || is_label_type(type); };
  require(known(preds_type) && known(target_type), "`preds` and `target` must be real tensors.");
  if (is_small_float(preds_type) && is_small_float(target_type)) {
    return std::make_unique<CoMoments<float>>(inputs, state);
  }
  return std::make_unique<CoMoments<double>>(inputs, state);
}

void co_moments_cpu(Tensor state, const Tensor& preds, const Tensor& target,
                    const OptionalTensor& weight) {
  run_job(*co_moments_job(state, {preds, target, weight}));
}

void merge_co_moments_cpu(Tensor state, const Tensor& others) {
  Moments* moments = moments_data(state);
  const int64_t outputs = state.size(0);
  require(others.dim() == 3 && others.size(1) == outputs && others.size(2) == kColumns &&
              others.scalar_type() == ScalarType::Double && others.is_contiguous(),
          "the states to merge must be contiguous float64 [R, D, 12].");
  const auto* from = static_cast<const Moments*>(others.const_data_ptr());
  for (int64_t i = 0; i < others.size(0) * outputs; ++i) {
    moments[i % outputs].merge(from[i]);
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  library.impl("co_moments_", TORCH_BOX(&co_moments_cpu));
  fuse<co_moments_job>("co_moments_");
  library.impl("merge_co_moments_", TORCH_BOX(&merge_co_moments_cpu));
}

}  // namespace fastmetrics
