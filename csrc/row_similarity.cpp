// row_similarity_: cosine similarity and divergences of the rows of two matrices.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "op.h"
#include "parallel.h"
#include "reals.h"
#include "simd.h"

namespace fastmetrics {

// fastmetrics/ops/row_similarity.py documents them.
enum class RowKind : int64_t { kCosine = 0, kKl = 1, kKlLog = 2, kJs = 3, kJsLog = 4 };

struct RowTotals {
  double first = 0.0;
  double second = 0.0;
  double third = 0.0;
};

// What makes the sums of both rows 1.
struct RowScale {
  double preds = 1.0;
  double target = 1.0;
};

// Beyond these some squares may have left the range of double: a cosine of NaN asks for
// `scaled_cosine`.
inline constexpr double kLeastSquares = 0x1p-900;
inline constexpr double kMostSquares = 0x1p900;

// The value of a row, from three sums: of products, or the first of them of a divergence's terms.
template <RowKind kind>
inline double value_of_row(double first, double second, double third) {
  if constexpr (kind == RowKind::kCosine) {
    const bool sound = second > kLeastSquares && second < kMostSquares && third > kLeastSquares &&
                       third < kMostSquares;
    return sound ? first / (std::sqrt(second) * std::sqrt(third))
                 : std::numeric_limits<double>::quiet_NaN();
  }
  return kind == RowKind::kJs || kind == RowKind::kJsLog ? 0.5 * first : first;
}

// `columns` adds to these three sums, `floats` to those of a cosine; `narrow` does all the work for
// rows stored column by column.
struct RowKernels {
  void (*sums)(const double* preds, const double* target, int64_t count, RowTotals& totals);
  void (*columns)(const double* preds, const double* target, int64_t count, const RowScale& scale,
                  RowTotals& totals);
  void (*floats)(const float* preds, const float* target, int64_t count, RowTotals& totals);
  void (*narrow)(const double* preds, const double* target, int64_t rows, int64_t columns,
                 double* values);
};

}  // namespace fastmetrics

#define FM_KERNELS "row_similarity.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

constexpr int64_t kBuffer = 1024;  // numbers of each matrix converted at a time
constexpr int64_t kNarrow = 32;    // up to so many columns, vectors hold rows

const RowKernels& kernels_of(RowKind kind) {
  switch (kind) {
    case RowKind::kCosine:
      return FM_PICK(kRows<RowKind::kCosine>);
    case RowKind::kKl:
      return FM_PICK(kRows<RowKind::kKl>);
    case RowKind::kKlLog:
      return FM_PICK(kRows<RowKind::kKlLog>);
    case RowKind::kJs:
      return FM_PICK(kRows<RowKind::kJs>);
    default:
      return FM_PICK(kRows<RowKind::kJsLog>);
  }
}

// A matrix of real numbers of any dtype and layout.
class Matrix {
 public:
  explicit Matrix(const Tensor& tensor)
      : data_(tensor.const_data_ptr()),
        load_(load_reals(tensor.scalar_type())),
        floats_(tensor.scalar_type() == ScalarType::Float && tensor.stride(1) == 1),
        row_step_(tensor.stride(0)),
        step_(tensor.stride(1)),
        columns_(tensor.size(1)),
        bytes_each_(static_cast<int64_t>(tensor.element_size())) {}

  int64_t bytes_per_row() const { return columns_ * bytes_each_; }

  // Whether the numbers of a row are adjacent floats, which begin there.
  bool has_float_rows() const { return floats_; }
  const float* float_row(int64_t row) const {
    return static_cast<const float*>(data_) + row * row_step_;
  }

  void load_rows(int64_t row, int64_t rows, double* numbers) const {
    if (step_ == 1 && (row_step_ == columns_ || rows == 1)) {
      load_(data_, row * row_step_, 1, rows * columns_, numbers);
      return;
    }
    for (int64_t i = 0; i < rows; ++i) {
      load_columns(row + i, 0, columns_, numbers + i * columns_);
    }
  }
  void load_columns(int64_t row, int64_t column, int64_t count, double* numbers) const {
    load_(data_, row * row_step_ + column * step_, step_, count, numbers);
  }
  void load_column(int64_t row, int64_t rows, int64_t column, double* numbers) const {
    load_(data_, row * row_step_ + column * step_, row_step_, rows, numbers);
  }

 private:
  const void* data_;
  LoadReals load_;
  bool floats_;
  int64_t row_step_;
  int64_t step_;
  int64_t columns_;
  int64_t bytes_each_;
};

class RowReader {
 public:
  RowReader(const Tensor& preds, const Tensor& target, RowKind kind)
      : preds_(preds),
        target_(target),
        kernels_(kernels_of(kind)),
        kind_(kind),
        rows_(preds.size(0)),
        columns_(preds.size(1)) {}

  int64_t rows() const { return rows_; }
  int64_t bytes_per_row() const { return preds_.bytes_per_row() + target_.bytes_per_row(); }

  // Calls use(row, value) for each of the rows [begin, end).
  template <class F>
  void visit(int64_t begin, int64_t end, F&& use) const {
    if (kind_ == RowKind::kCosine) {
      visit_rows(begin, end, [&](int64_t row, double value) {
        use(row, std::isnan(value) ? scaled_cosine(row) : value);
      });
    } else {
      visit_rows(begin, end, use);
    }
  }

 private:
  template <class F>
  void visit_rows(int64_t begin, int64_t end, F&& use) const {
    std::array<double, kBuffer> preds;
    std::array<double, kBuffer> target;
    const bool in_place = preds_.has_float_rows() && target_.has_float_rows();
    if (kind_ == RowKind::kCosine && columns_ > kNarrow && in_place) {
      for (int64_t row = begin; row < end; ++row) {
        RowTotals totals;
        kernels_.floats(preds_.float_row(row), target_.float_row(row), columns_, totals);
        use(row, value_of(totals));
      }
      return;
    }
    if (columns_ > kBuffer) {
      for (int64_t row = begin; row < end; ++row) {
        use(row, wide_row(row, preds.data(), target.data()));
      }
      return;
    }
    if (columns_ <= kNarrow) {
      visit_narrow(begin, end, preds.data(), target.data(), use);
      return;
    }
    const int64_t tile = kBuffer / columns_;
    for (int64_t first = begin; first < end; first += tile) {
      const int64_t count = std::min(tile, end - first);
      preds_.load_rows(first, count, preds.data());
      target_.load_rows(first, count, target.data());
      for (int64_t i = 0; i < count; ++i) {
        const double* p = preds.data() + i * columns_;
        const double* q = target.data() + i * columns_;
        RowTotals totals;
        if (normalises()) {
          kernels_.sums(p, q, columns_, totals);
        }
        const RowScale scale = scale_of(totals);
        kernels_.columns(p, q, columns_, scale, totals);
        use(first + i, value_of(totals));
      }
    }
  }

  // The cosine of rows divided by powers of two near their largest numbers.
  double scaled_cosine(int64_t row) const {
    std::array<double, kBuffer> preds;
    std::array<double, kBuffer> target;
    const auto for_pairs = [&](auto&& use) {
      for (int64_t column = 0; column < columns_; column += kBuffer) {
        const int64_t count = std::min(kBuffer, columns_ - column);
        preds_.load_columns(row, column, count, preds.data());
        target_.load_columns(row, column, count, target.data());
        for (int64_t i = 0; i < count; ++i) {
          use(preds[i], target[i]);
        }
      }
    };
    double largest_p = 0.0;
    double largest_q = 0.0;
    bool finite = true;
    for_pairs([&](double p, double q) {
      finite &= std::isfinite(p) && std::isfinite(q);
      largest_p = std::max(largest_p, std::abs(p));
      largest_q = std::max(largest_q, std::abs(q));
    });
    if (!finite || largest_p == 0.0 || largest_q == 0.0) {
      return std::numeric_limits<double>::quiet_NaN();
    }
    const int by_p = -std::ilogb(largest_p);
    const int by_q = -std::ilogb(largest_q);
    RowTotals totals;
    for_pairs([&](double p, double q) {
      const double a = std::ldexp(p, by_p);
      const double b = std::ldexp(q, by_q);
      totals.first += a * b;
      totals.second += a * a;
      totals.third += b * b;
    });
    return value_of(totals);
  }

  bool normalises() const { return kind_ == RowKind::kKl || kind_ == RowKind::kJs; }

  RowScale scale_of(const RowTotals& totals) const {
    return normalises() ? RowScale{1.0 / totals.second, 1.0 / totals.third} : RowScale{};
  }

  double value_of(const RowTotals& totals) const {
    switch (kind_) {
      case RowKind::kCosine:
        return value_of_row<RowKind::kCosine>(totals.first, totals.second, totals.third);
      case RowKind::kJs:
      case RowKind::kJsLog:
        return value_of_row<RowKind::kJs>(totals.first, 0.0, 0.0);
      default:
        return totals.first;
    }
  }

  template <class F>
  void visit_narrow(int64_t begin, int64_t end, double* preds, double* target, F&& use) const {
    std::array<double, kBuffer> values;
    const int64_t tile = kBuffer / std::max<int64_t>(columns_, 1);
    for (int64_t first = begin; first < end; first += tile) {
      const int64_t count = std::min(tile, end - first);
      for (int64_t column = 0; column < columns_; ++column) {
        preds_.load_column(first, count, column, preds + column * count);
        target_.load_column(first, count, column, target + column * count);
      }
      kernels_.narrow(preds, target, count, columns_, values.data());
      for (int64_t i = 0; i < count; ++i) {
        use(first + i, values[i]);
      }
    }
  }

  // A row that does not fit the buffers; a divergence of probabilities reads it twice.
  double wide_row(int64_t row, double* preds, double* target) const {
    RowTotals totals;
    const auto for_pieces = [&](auto&& use) {
      for (int64_t column = 0; column < columns_; column += kBuffer) {
        const int64_t count = std::min(kBuffer, columns_ - column);
        preds_.load_columns(row, column, count, preds);
        target_.load_columns(row, column, count, target);
        use(count);
      }
    };
    if (normalises()) {
      for_pieces([&](int64_t count) { kernels_.sums(preds, target, count, totals); });
    }
    const RowScale scale = scale_of(totals);
    for_pieces([&](int64_t count) { kernels_.columns(preds, target, count, scale, totals); });
    return value_of(totals);
  }

  Matrix preds_;
  Matrix target_;
  const RowKernels& kernels_;
  RowKind kind_;
  int64_t rows_;
  int64_t columns_;
};

void row_similarity_cpu(Tensor state, const Tensor& preds, const Tensor& target, int64_t kind) {
  require(kind >= 0 && kind <= 4, "`kind` must be in [0, 4].");
  require(preds.dim() == 2 && target.dim() == 2 && preds.size(0) == target.size(0) &&
              preds.size(1) == target.size(1),
          "`preds` and `target` must be [N, D].");
  const bool samplewise = state.dim() == 2;
  require(state.scalar_type() == ScalarType::Double &&
              (samplewise ? state.size(0) == preds.size(0) && state.size(1) == 1
                          : state.dim() == 1 && state.size(0) == 3),
          "the state of row_similarity_ must be float64 [3], or [N, 1].");
  const RowReader reader(preds, target, static_cast<RowKind>(kind));
  if (reader.rows() == 0) {
    return;
  }
  double* data = state_data<double>(state);
  const Partition partition(reader.rows(), std::max<int64_t>(reader.bytes_per_row(), 1), 8, false,
                            1);
  std::array<double, kMaxWeightedParts> sums{};
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    double sum = 0.0;
    reader.visit(begin, end, [&](int64_t row, double value) {
      if (samplewise) {
        data[row] += value;
      } else {
        sum += value;
      }
    });
    sums[part] = sum;
  });
  if (samplewise) {
    return;
  }
  for (int64_t part = 0; part < partition.parts; ++part) {
    data[0] += sums[part];
  }
  data[1] += static_cast<double>(reader.rows());
  const bool wide =
      preds.scalar_type() == ScalarType::Double || target.scalar_type() == ScalarType::Double;
  data[2] += wide ? static_cast<double>(reader.rows()) : 0.0;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<row_similarity_cpu>(library, "row_similarity_");
}

}  // namespace fastmetrics
