// co_moments_: counts, means, second moments and co-moments of predictions and targets per output.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "fusible.h"
#include "op.h"
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

constexpr int kNumSums = 9;

template <class V>
using AddPairs = void (*)(const Tile<V>& tile, const double* shifts, double* sums, int64_t stride);

template <class V>
struct MomentKernels {
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

using ExceedExact = bool (*)(const double* numbers, int64_t count);

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

// `high + low`, of which `high` is the nearest number; without rounding.
struct Exact {
  double high;
  double low;
};

Exact exact_sum(double a, double b) {
  const double high = a + b;
  const double of_b = high - a;
  const double low = (a - (high - of_b)) + (b - of_b);
  return {high, std::isfinite(high) ? low : 0.0};
}

double times_power(double value, double exponent) {
  return exponent == 0 ? value : std::ldexp(value, static_cast<int>(exponent));
}

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
  double rest_x;
  double rest_y;
  double rest_d;
  double exponent_x;
  double exponent_y;
  double exponent_d;

  // Chan's rule for two parts of the data.
  void merge(const Moments& other) {
    const double any_wide = std::max(wide, other.wide);
    if (other.weight != 0) {
      if (weight == 0) {
        *this = other;
      } else if (exponent_x == other.exponent_x && exponent_y == other.exponent_y &&
                 exponent_d == other.exponent_d) {
        add(other);
      } else {
        const double x = common(mean_x, xx, exponent_x, other.mean_x, other.xx, other.exponent_x);
        const double y = common(mean_y, yy, exponent_y, other.mean_y, other.yy, other.exponent_y);
        const double d = common(mean_d, dd, exponent_d, other.mean_d, other.dd, other.exponent_d);
        Moments aligned = other;
        aligned.rescale(x, y, d);
        rescale(x, y, d);
        add(aligned);
      }
    }
    wide = any_wide;
  }

 private:
  // The larger exponent, unless that part is all zeros.
  static double common(double mean_a, double square_a, double a, double mean_b, double square_b,
                       double b) {
    if (mean_a == 0 && square_a == 0) {
      return b;
    }
    return mean_b == 0 && square_b == 0 ? a : std::max(a, b);
  }

  // The same numbers in terms of other powers of two.
  void rescale(double x, double y, double d) {
    const double by_x = exponent_x - x;
    const double by_y = exponent_y - y;
    const double by_d = exponent_d - d;
    mean_x = times_power(mean_x, by_x);
    rest_x = times_power(rest_x, by_x);
    mean_y = times_power(mean_y, by_y);
    rest_y = times_power(rest_y, by_y);
    mean_d = times_power(mean_d, by_d);
    rest_d = times_power(rest_d, by_d);
    xx = times_power(xx, 2 * by_x);
    yy = times_power(yy, 2 * by_y);
    dd = times_power(dd, 2 * by_d);
    xy = times_power(xy, by_x + by_y);
    exponent_x = x;
    exponent_y = y;
    exponent_d = d;
  }

  // Moves a mean by its share of the step to another one.
  static double move(double& mean, double& rest, double to, double to_rest, double share) {
    const double step = (to - mean) + (to_rest - rest);
    const Exact moved = exact_sum(mean, rest + step * share);
    mean = moved.high;
    rest = moved.low;
    return step;
  }

  void add(const Moments& other) {
    const double total = weight + other.weight;
    const double share = other.weight / total;
    const double both = weight * share;
    const double step_x = move(mean_x, rest_x, other.mean_x, other.rest_x, share);
    const double step_y = move(mean_y, rest_y, other.mean_y, other.rest_y, share);
    const double step_d = move(mean_d, rest_d, other.mean_d, other.rest_d, share);
    count += other.count;
    weight = total;
    xx += other.xx + step_x * step_x * both;
    yy += other.yy + step_y * step_y * both;
    dd += other.dd + step_d * step_d * both;
    xy += other.xy + step_x * step_y * both;
    low = std::min(low, other.low);
    high = std::max(high, other.high);
  }
};
constexpr int64_t kColumns = sizeof(Moments) / sizeof(double);

// Pairs of one output that share a shift, and columns handled at a time. Cancellation costs at most
// the number of pairs in rounding errors, because the shift is one of the values. At the end of a
// block the moments of every column are merged, which takes as long as fifty pairs; but each part
// of a batch holds a block of what is not read in place, so that larger ones would be megabytes.
constexpr int64_t kPairsPerBlock = 2048;
constexpr int64_t kRowsPerBlock = 64;
constexpr int64_t kWidth = 256;

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
    is_long_ = type == ScalarType::Long;
    if (is_score_type(type)) {
      with_score_type(type, choose);
    } else {
      require(is_label_type(type), "inputs must be real tensors.");
      if constexpr (std::is_same_v<V, double>) {
        with_label_type(type, choose);
      }
    }
  }

  bool is_long() const { return is_long_; }

  // Whether rows lie in memory as they are needed.
  bool in_place() const { return in_place_ && column_stride_ == 1; }

  // Single numbers, copied.
  void read(int64_t first, int64_t count, V* numbers) const {
    load_(data_, first * row_stride_, row_stride_, count, numbers);
  }

  // The differences of the numbers from those of row `pivot` of the block, which go to `bases`.
  const V* read_differences(int64_t first, int64_t rows, int64_t column, int64_t width,
                            int64_t pivot, V* buffer, int64_t* pitch, Exact* bases) const {
    const int64_t offset = first * row_stride_ + column * column_stride_;
    *pitch = width;
    if (is_long_) {
      const int64_t* from = static_cast<const int64_t*>(data_) + offset;
      for (int64_t i = 0; i < width; ++i) {
        const int64_t base = from[pivot * row_stride_ + i * column_stride_];
        bases[i] = exact_sum(high_word(base), low_word(base));
        for (int64_t row = 0; row < rows; ++row) {
          const int64_t number = from[row * row_stride_ + i * column_stride_];
          buffer[row * width + i] = static_cast<V>((high_word(number) - high_word(base)) +
                                                   (low_word(number) - low_word(base)));
        }
      }
      return buffer;
    }
    for (int64_t row = 0; row < rows; ++row) {
      load_(data_, offset + row * row_stride_, column_stride_, width, buffer + row * width);
    }
    for (int64_t i = 0; i < width; ++i) {
      bases[i] = {static_cast<double>(buffer[pivot * width + i]), 0.0};
    }
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = 0; i < width; ++i) {
        buffer[row * width + i] -= static_cast<V>(bases[i].high);
      }
    }
    return buffer;
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
  // Numbers of 64 bits in two parts that doubles hold, so that a difference is rounded once.
  static double high_word(int64_t number) { return static_cast<double>(number >> 32) * 0x1p32; }
  static double low_word(int64_t number) { return static_cast<double>(number & 0xffffffff); }

  const void* data_;
  int64_t row_stride_;
  int64_t column_stride_;
  LoadNumbers<V> load_ = nullptr;
  bool in_place_ = false;
  bool is_long_ = false;
};

// What one part of the data needs while it is read.
template <class V>
class BlockReader {
 public:
  BlockReader(const NumberSource<V>& preds, const NumberSource<V>& target,
              const NumberSource<double>* weights, int64_t width, int64_t rows, bool whole_rows,
              bool wide)
      : preds_(preds),
        target_(target),
        weights_(weights),
        kernels_(FM_PICK(kPairs<V>)),
        sum_weights_(FM_PICK(kSumWeights)),
        exceed_exact_(FM_PICK(kExceedExact)),
        wide_(wide) {
    // Several rows side by side fill the vectors: the columns of one output are then added up.
    const int64_t folded = std::lcm(width, static_cast<int64_t>(kernels_.lanes));
    dense_ = whole_rows && folded <= kWidth;
    stride_ = dense_ ? folded : width;
    shifts_.resize(3 * stride_);
    sums_.resize(kNumSums * stride_);
    bases_.resize(preds.is_long() || target.is_long() ? 2 * width : 0);
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
    V* more = spare + rows * width;
    tile.preds = preds_.read(first, rows, column, width, dense_, spare, &tile.preds_pitch);
    tile.target = target_.read(first, rows, column, width, dense_, more, &tile.target_pitch);
    const bool from_bases = holds_rounded(preds_, tile.preds, rows * width) ||
                            holds_rounded(target_, tile.target, rows * width);
    if (from_bases) {
      tile.preds = preds_.read_differences(first, rows, column, width, pivot, spare,
                                           &tile.preds_pitch, bases_.data());
      tile.target = target_.read_differences(first, rows, column, width, pivot, more,
                                             &tile.target_pitch, bases_.data() + width);
    }
    tile.weight = weights_ == nullptr ? nullptr
                  : width > 1         ? pair_weights_.data()
                                      : row_weights_.data();
    start(tile, pivot, width);
    tile.rows = rows;
    tile.width = width;
    add(tile);
    for (int64_t i = 0; i < width; ++i) {
      if (!finish(i, width, block)) {
        sum_again(tile, i, pivot, block);
      }
      if (from_bases) {
        add_bases(bases_[i], bases_[width + i], block);
      }
      moments[column + i].merge(block);
    }
  }

 private:
  // Whether numbers read from int64 are more than double holds; their differences it may hold.
  bool holds_rounded(const NumberSource<V>& source, const V* numbers, int64_t count) const {
    if constexpr (std::is_same_v<V, double>) {
      return source.is_long() && exceed_exact_(numbers, count);
    }
    return false;
  }

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
    if (dense_) {
      const int64_t pairs = tile.rows * tile.width;
      tile.preds_pitch = tile.target_pitch = tile.width = stride_;
      tile.rows = pairs / stride_;
      add_rows(tile);
      const int64_t done = tile.rows * stride_;
      tile.preds += done;
      tile.target += done;
      tile.weight += weights_ != nullptr ? done : 0;
      tile.rows = 1;
      tile.width = pairs - done;
    }
    add_rows(tile);
  }

  void add_rows(Tile<V> tile) {
    const AddPairs<V> add_pairs = weights_ != nullptr ? kernels_.add_weighted : kernels_.add;
    // Walked column by column in the L1 cache.
    const int64_t step = std::max<int64_t>(1, kPairsPerBlock / std::max<int64_t>(1, tile.width));
    for (int64_t left = tile.rows; left > 0; left -= step) {
      tile.rows = std::min(step, left);
      add_pairs(tile, shifts_.data(), sums_.data(), stride_);
      tile.preds += step * tile.preds_pitch;
      tile.target += step * tile.target_pitch;
      tile.weight += tile.weight == nullptr ? 0 : step * tile.width;
    }
  }

  // Returns whether the sums say the moments: see `sum_again`.
  bool finish(int64_t output, int64_t width, Moments& block) const {
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
    set_mean(shifts_[output], x / weight, block.mean_x, block.rest_x);
    set_mean(shifts_[stride_ + output], y / weight, block.mean_y, block.rest_y);
    set_mean(shifts_[2 * stride_ + output], d / weight, block.mean_d, block.rest_d);
    block.xx = positive(xx - x * (x / weight));
    block.yy = positive(yy - y * (y / weight));
    block.dd = positive(dd - d * (d / weight));
    block.xy = xy - x * (y / weight);
    block.low = low;
    block.high = high;
    block.exponent_x = block.exponent_y = block.exponent_d = 0;
    return is_sound(xx, block.xx) && is_sound(yy, block.yy) && is_sound(dd, block.dd);
  }

  static void set_mean(double shift, double step, double& mean, double& rest) {
    const Exact sum = exact_sum(shift, step);
    mean = sum.high;
    rest = sum.low;
  }

  // Whether a sum of squares around one of the values has kept the digits of the one around the
  // mean, and none of its terms can have left the range of double.
  bool is_sound(double around_shift, double around_mean) const {
    constexpr double kMostCancelled = 64.0;
    return around_shift <= kMostCancelled * around_mean &&
           (!wide_ || (around_mean > 0x1p-900 && around_mean < 0x1p900));
  }

  // The power of two to divide by: none for numbers whose squares can be summed as they are.
  static int exponent_of(double largest) {
    const bool ordinary = largest == 0 || (largest >= 0x1p-400 && largest <= 0x1p400);
    return ordinary ? 0 : std::ilogb(largest) + 1;
  }

  // Sums over pairs of one output around means that a first pass has found.
  struct Column {
    int exponent;
    double mean;
    double rest = 0.0;  // of the distances
    double square = 0.0;

    double distance(double number) const { return std::ldexp(number, -exponent) - mean; }
  };

  // Where the first pair is an outlier, or squares leave the range of double: the moments of the
  // block in further passes, in terms of powers of two near the largest numbers. With values that
  // are not finite the first sums stay.
  void sum_again(const Tile<V>& tile, int64_t output, int64_t pivot, Moments& block) const {
    const auto for_pairs = [&](auto&& f) {
      for (int64_t row = 0; row < tile.rows; ++row) {
        const double w = tile.weight == nullptr ? 1.0 : tile.weight[row * tile.width + output];
        if (w != 0) {
          f(static_cast<double>(tile.preds[row * tile.preds_pitch + output]),
            static_cast<double>(tile.target[row * tile.target_pitch + output]), w);
        }
      }
    };
    double largest[3] = {};
    bool finite = std::isfinite(block.weight);
    for_pairs([&](double x, double y, double) {
      finite &= std::isfinite(x) && std::isfinite(y);
      largest[0] = std::max(largest[0], std::abs(x));
      largest[1] = std::max(largest[1], std::abs(y));
      largest[2] = std::max(largest[2], std::abs(y * 0.5 - x * 0.5));
    });
    if (!finite) {
      return;
    }
    const int exponent_d = exponent_of(largest[2]) == 0 ? 0 : exponent_of(largest[2]) + 1;
    const double first_x = tile.preds[pivot * tile.preds_pitch + output];
    const double first_y = tile.target[pivot * tile.target_pitch + output];
    const auto difference = [&](double x, double y) {
      return exponent_d == 0 ? y - x : std::ldexp(y * 0.5 - x * 0.5, 1 - exponent_d);
    };
    Column x{exponent_of(largest[0]), 0.0};
    Column y{exponent_of(largest[1]), 0.0};
    Column d{0, difference(first_x, first_y)};
    x.mean = x.distance(first_x);
    y.mean = y.distance(first_y);
    // The mean, and what the distances from it add up to because it is rounded.
    const double weight = block.weight;
    double steps[3] = {};
    for_pairs([&](double p, double t, double w) {
      steps[0] += w * x.distance(p);
      steps[1] += w * y.distance(t);
      steps[2] += w * d.distance(difference(p, t));
    });
    x.mean += steps[0] / weight;
    y.mean += steps[1] / weight;
    d.mean += steps[2] / weight;
    double product = 0.0;
    for_pairs([&](double p, double t, double w) {
      const double from_x = x.distance(p);
      const double from_y = y.distance(t);
      const double from_d = d.distance(difference(p, t));
      x.rest += w * from_x;
      y.rest += w * from_y;
      d.rest += w * from_d;
      x.square += w * from_x * from_x;
      y.square += w * from_y * from_y;
      d.square += w * from_d * from_d;
      product += w * from_x * from_y;
    });
    const auto squares = [weight](const Column& column) {
      return std::max(0.0, column.square - column.rest * (column.rest / weight));
    };
    set_mean(x.mean, x.rest / weight, block.mean_x, block.rest_x);
    set_mean(y.mean, y.rest / weight, block.mean_y, block.rest_y);
    set_mean(d.mean, d.rest / weight, block.mean_d, block.rest_d);
    block.xx = squares(x);
    block.yy = squares(y);
    block.dd = squares(d);
    block.xy = product - x.rest * (y.rest / weight);
    block.exponent_x = x.exponent;
    block.exponent_y = y.exponent;
    block.exponent_d = exponent_d;
  }

  // Makes the moments of differences from bases those of the numbers.
  static void add_bases(const Exact& x, const Exact& y, Moments& block) {
    const auto add = [](Exact base, double exponent, double& mean, double& rest) {
      base = {times_power(base.high, -exponent), times_power(base.low, -exponent)};
      set_mean(base.high, base.low + (mean + rest), mean, rest);
    };
    const Exact d = exact_sum(y.high, -x.high);
    add(x, block.exponent_x, block.mean_x, block.rest_x);
    add(y, block.exponent_y, block.mean_y, block.rest_y);
    add({d.high, d.low + (y.low - x.low)}, block.exponent_d, block.mean_d, block.rest_d);
    block.low = y.high + (y.low + block.low);
    block.high = y.high + (y.low + block.high);
  }

  const NumberSource<V>& preds_;
  const NumberSource<V>& target_;
  const NumberSource<double>* weights_;
  const MomentKernels<V>& kernels_;
  SumWeights sum_weights_;
  ExceedExact exceed_exact_;
  bool wide_;  // an input is double
  bool dense_;
  int64_t stride_;
  std::vector<double> shifts_;
  std::vector<double> sums_;
  std::vector<Exact> bases_;
  std::unique_ptr<V[]> buffer_;  // for what cannot be used in place
  std::vector<double> row_weights_;
  std::vector<double> pair_weights_;
};

Moments* moments_data(Tensor& state) {
  require(
      state.dim() == 2 && state.size(1) == kColumns && state.scalar_type() == ScalarType::Double,
      "the state of co_moments_ must be float64 [D, 18].");
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
        precision_(wide_ ? 1.0
                   : is_label_type(inputs.preds.scalar_type()) ||
                           is_label_type(inputs.target.scalar_type())
                       ? 0.5
                       : 0.0),
        state_(moments_data(state)) {
    if (inputs.weight.has_value()) {
      weights_.emplace(*inputs.weight, 1);
    }
    const bool by_column = outputs_ > 1 && preds_.walks_columns() && target_.walks_columns();
    width_ = by_column ? 1 : std::min(outputs_, kWidth);
    const int64_t width = std::max<int64_t>(1, width_);
    const bool in_place = preds_.in_place() && target_.in_place();
    rows_ = in_place ? std::min(kPairsPerBlock, kRowsPerBlock * kWidth / width)
                     : std::max(kRowsPerBlock, kPairsPerBlock / width);
    rows_ = std::min(count_, rows_);
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
                     width_ == 1 || width_ == outputs_, wide_);
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
    for (int64_t i = 0; i < outputs_; ++i) {
      state_[i].wide = std::max(state_[i].wide, precision_);
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
  double precision_;  // what the state remembers of the dtypes
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
          "the states to merge must be contiguous float64 [R, D, 18].");
  const auto* from = static_cast<const Moments*>(others.const_data_ptr());
  for (int64_t i = 0; i < others.size(0) * outputs; ++i) {
    moments[i % outputs].merge(from[i]);
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<co_moments_cpu>(library, "co_moments_");
  fuse<co_moments_job>("co_moments_");
  register_op<merge_co_moments_cpu>(library, "merge_co_moments_");
}

}  // namespace fastmetrics
