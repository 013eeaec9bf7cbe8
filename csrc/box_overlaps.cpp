// box_overlaps_: IoU, generalized, distance and complete IoU of pairs of boxes.
//
// Both lists are read once, as double, coordinate by coordinate; then threads write the pairs, row
// by row of all pairs, or in the order in which pairs are named.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "op.h"
#include "parallel.h"
#include "reals.h"

namespace fastmetrics {
namespace {

// fastmetrics/ops/box_overlaps.py documents them.
enum class Overlap : int64_t { kIou = 0, kGiou = 1, kDiou = 2, kCiou = 3 };
inline constexpr double kEps = 1e-7;
inline constexpr int64_t kBytesPerPair = 64;  // a pair takes as long as reading so many

// Coordinates of boxes; angles where aspects are compared.
struct Boxes {
  std::vector<double> x1, y1, x2, y2, angles;

  Boxes(const Tensor& tensor, Overlap kind) {
    require(tensor.dim() == 2 && tensor.size(1) == 4, "boxes must be [N, 4].");
    const int64_t count = tensor.size(0);
    const LoadReals load = load_reals(tensor.scalar_type());
    int64_t offset = 0;
    for (std::vector<double>* column : {&x1, &y1, &x2, &y2}) {
      column->resize(count);
      load(tensor.const_data_ptr(), offset, tensor.stride(0), count, column->data());
      offset += tensor.stride(1);
    }
    if (kind == Overlap::kCiou) {
      angles.resize(count);
      for (int64_t i = 0; i < count; ++i) {
        angles[i] = std::atan((x2[i] - x1[i]) / (y2[i] - y1[i]));
      }
    }
  }

  int64_t count() const { return static_cast<int64_t>(x1.size()); }
  double area(int64_t i) const { return (x2[i] - x1[i]) * (y2[i] - y1[i]); }
};

template <Overlap kind>
double overlap_of(const Boxes& a, int64_t i, const Boxes& b, int64_t j) {
  const auto length = [](double size) { return size < 0.0 ? 0.0 : size; };
  const double both = length(std::min(a.x2[i], b.x2[j]) - std::max(a.x1[i], b.x1[j])) *
                      length(std::min(a.y2[i], b.y2[j]) - std::max(a.y1[i], b.y1[j]));
  const double whole = a.area(i) + b.area(j) - both;
  const double iou = both / whole;
  if constexpr (kind == Overlap::kIou) {
    return iou;
  }
  const double width = length(std::max(a.x2[i], b.x2[j]) - std::min(a.x1[i], b.x1[j]));
  const double height = length(std::max(a.y2[i], b.y2[j]) - std::min(a.y1[i], b.y1[j]));
  if constexpr (kind == Overlap::kGiou) {
    const double around = width * height;
    return iou - (around - whole) / around;
  }
  const double dx = (a.x1[i] + a.x2[i] - b.x1[j] - b.x2[j]) / 2;
  const double dy = (a.y1[i] + a.y2[i] - b.y1[j] - b.y2[j]) / 2;
  const double diou = iou - (dx * dx + dy * dy) / (width * width + height * height + kEps);
  if constexpr (kind == Overlap::kDiou) {
    return diou;
  } else {
    const double bend = a.angles[i] - b.angles[j];
    const double aspect = 4 / (std::numbers::pi * std::numbers::pi) * (bend * bend);
    return diou - aspect / (1 - iou + aspect + kEps) * aspect;
  }
}

template <Overlap kind>
void write_pairs(double* state, int64_t pairs, const Boxes& boxes, const Boxes& others,
                 const int64_t* rows, const int64_t* columns) {
  const Partition partition(pairs, kBytesPerPair, 1, true, 1);
  partition.run([&](int64_t, int64_t begin, int64_t end) {
    const int64_t width = std::max<int64_t>(others.count(), 1);
    int64_t row = begin / width;
    int64_t column = begin % width;
    for (int64_t pair = begin; pair < end; ++pair) {
      if (rows != nullptr) {
        state[pair] = overlap_of<kind>(boxes, rows[pair], others, columns[pair]);
        continue;
      }
      state[pair] = overlap_of<kind>(boxes, row, others, column);
      if (++column == width) {
        column = 0;
        ++row;
      }
    }
  });
}

const int64_t* places(const std::optional<Tensor>& index, int64_t pairs, int64_t boxes) {
  if (!index) {
    return nullptr;
  }
  require(index->scalar_type() == ScalarType::Long && index->dim() == 1 &&
              index->size(0) == pairs && index->is_contiguous(),
          "`rows` and `columns` must be contiguous int64 [P].");
  const auto* data = static_cast<const int64_t*>(index->const_data_ptr());
  const auto inside = [&](int64_t place) { return place >= 0 && place < boxes; };
  require(std::all_of(data, data + pairs, inside), "`rows` and `columns` must name boxes.");
  return data;
}

void box_overlaps_cpu(Tensor state, const Tensor& boxes, const Tensor& others,
                      std::optional<Tensor> rows, std::optional<Tensor> columns, int64_t kind) {
  require(kind >= 0 && kind <= 3, "`kind` must be in [0, 3].");
  require(state.scalar_type() == ScalarType::Double && state.dim() == 1 &&
              rows.has_value() == columns.has_value(),
          "`state` must be float64 [P], and `rows` be given with `columns`.");
  const auto overlap = static_cast<Overlap>(kind);
  const Boxes first(boxes, overlap);
  const Boxes second(others, overlap);
  const int64_t pairs = state.size(0);
  require(rows || pairs == first.count() * second.count(), "`state` must hold all pairs.");
  double* out = state_data<double>(state);
  const auto write = [&](auto writer) {
    writer(out, pairs, first, second, places(rows, pairs, first.count()),
           places(columns, pairs, second.count()));
  };
  switch (overlap) {
    case Overlap::kIou:
      return write(write_pairs<Overlap::kIou>);
    case Overlap::kGiou:
      return write(write_pairs<Overlap::kGiou>);
    case Overlap::kDiou:
      return write(write_pairs<Overlap::kDiou>);
    default:
      return write(write_pairs<Overlap::kCiou>);
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<box_overlaps_cpu>(library, "box_overlaps_");
}

}  // namespace fastmetrics
