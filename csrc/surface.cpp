// surface_distances_ and distance_transform_: how far apart the surfaces of masks are.
//
// Distances to a set of pixels are found axis by axis. Along a line, each pixel y that has a
// distance f(y) already offers one of f(y) + (s (x - y))^2 to every x (euclidean; the larger of
// f(y) and s |x - y|, or their sum, for the other metrics). The least of them is the lower envelope
// of curves of which any two cross once, so one pass over the line with a stack finds it, in time
// linear in the pixels (Felzenszwalb and Huttenlocher 2012; Meijster, Roerdink and Hesselink 2000).
// Lines that do not lie next to each other in memory are copied 16 at a time.
//
// Pairs of masks are independent, and both directions of a pair are: these are split over threads.
// All work stays within the box around both masks, and the last axis leaves out lines without a
// pixel that asks.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "op.h"
#include "parallel.h"

namespace fastmetrics {
namespace {

constexpr double kFar = std::numeric_limits<double>::infinity();
constexpr int64_t kLines = 16;

enum Metric : int64_t { kEuclidean = 0, kChessboard = 1, kTaxicab = 2 };
enum Column : int64_t { kMax = 0, kSum = 1, kCount = 2, kWithin = 3, kPercentile = 4 };
constexpr int64_t kColumns = 5;

// Sizes and spacings of the axes of an image that lies in one piece.
struct Grid {
  std::vector<int64_t> size;
  std::vector<double> spacing;

  int64_t pixels() const {
    int64_t count = 1;
    for (const int64_t n : size) {
      count *= n;
    }
    return count;
  }
  int64_t stride(size_t axis) const {
    int64_t step = 1;
    for (size_t i = axis + 1; i < size.size(); ++i) {
      step *= size[i];
    }
    return step;
  }
};

// Curves of squared distances.
struct Euclidean {
  double spacing;

  double separation(double i, double at_i, double u, double at_u) const {
    const double square = spacing * spacing;
    return (i + u) / 2 + (at_u - at_i) / (2 * square * (u - i));
  }
  double at(double x, double y, double at_y) const {
    const double distance = spacing * (x - y);
    return at_y + distance * distance;
  }
};

struct Chessboard {
  double spacing;

  double separation(double i, double at_i, double u, double at_u) const {
    const double middle = (i + u) / 2;
    return at_i <= at_u ? std::max(i + at_u / spacing, middle)
                        : std::min(u - at_i / spacing, middle);
  }
  double at(double x, double y, double at_y) const {
    return std::max(at_y, spacing * std::abs(x - y));
  }
};

struct Crossing {
  int64_t place;  // whose curve is the lowest
  double from;    // here and beyond
};

// The lower envelope of the curves of a line, whose entries lie `step` apart.
template <class Curve>
void lower_line(const Curve& curve, double* line, int64_t count, int64_t step,
                std::vector<Crossing>& stack, std::vector<double>& copy) {
  stack.clear();
  for (int64_t q = 0; q < count; ++q) {
    const double height = line[q * step];
    copy[q] = height;
    if (height == kFar) {
      continue;
    }
    double from = -kFar;
    while (!stack.empty()) {
      const int64_t top = stack.back().place;
      from = curve.separation(static_cast<double>(top), copy[top], static_cast<double>(q), height);
      if (from > stack.back().from) {
        break;
      }
      stack.pop_back();
      from = -kFar;
    }
    stack.push_back({q, from});
  }
  if (stack.empty()) {
    return;
  }
  size_t lowest = 0;
  for (int64_t x = 0; x < count; ++x) {
    while (lowest + 1 < stack.size() && stack[lowest + 1].from < static_cast<double>(x)) {
      ++lowest;
    }
    const int64_t place = stack[lowest].place;
    line[x * step] = curve.at(static_cast<double>(x), static_cast<double>(place), copy[place]);
  }
}

void lower_taxicab(double spacing, double* line, int64_t count, int64_t step) {
  for (int64_t x = 1; x < count; ++x) {
    line[x * step] = std::min(line[x * step], line[(x - 1) * step] + spacing);
  }
  for (int64_t x = count - 2; x >= 0; --x) {
    line[x * step] = std::min(line[x * step], line[(x + 1) * step] + spacing);
  }
}

// Lowers `heights` along the lines of one axis.
class Axis {
 public:
  Axis(Metric metric, const Grid& grid, size_t axis)
      : metric_(metric),
        spacing_(grid.spacing[axis]),
        count_(grid.size[axis]),
        stride_(grid.stride(axis)),
        blocks_(grid.pixels() / std::max<int64_t>(1, count_ * stride_)),
        copy_(count_),
        lines_(count_ * kLines) {}

  // Lines without an entry in `asks` are left out, if there is such an array.
  void lower(double* heights, const uint8_t* asks) {
    for (int64_t block = 0; block < blocks_; ++block) {
      const int64_t begin = block * count_ * stride_;
      if (stride_ == 1) {
        if (asks == nullptr || asked(asks + begin, 1)) {
          lower_one(heights + begin, 1);
        }
        continue;
      }
      for (int64_t first = 0; first < stride_; first += kLines) {
        const int64_t wide = std::min(kLines, stride_ - first);
        if (asks == nullptr || asked(asks + begin + first, wide)) {
          lower_some(heights + begin + first, wide);
        }
      }
    }
  }

 private:
  bool asked(const uint8_t* asks, int64_t wide) const {
    for (int64_t x = 0; x < count_; ++x) {
      uint8_t any = 0;
      for (int64_t i = 0; i < wide; ++i) {
        any |= asks[x * stride_ + i];
      }
      if (any != 0) {
        return true;
      }
    }
    return false;
  }

  void lower_some(double* heights, int64_t wide) {
    for (int64_t x = 0; x < count_; ++x) {
      std::copy_n(heights + x * stride_, wide, &lines_[x * kLines]);
    }
    for (int64_t i = 0; i < wide; ++i) {
      lower_one(&lines_[i], kLines);
    }
    for (int64_t x = 0; x < count_; ++x) {
      std::copy_n(&lines_[x * kLines], wide, heights + x * stride_);
    }
  }

  void lower_one(double* line, int64_t step) {
    if (metric_ == kTaxicab) {
      lower_taxicab(spacing_, line, count_, step);
    } else if (metric_ == kChessboard) {
      lower_line(Chessboard{spacing_}, line, count_, step, stack_, copy_);
    } else {
      lower_line(Euclidean{spacing_}, line, count_, step, stack_, copy_);
    }
  }

  Metric metric_;
  double spacing_;
  int64_t count_;
  int64_t stride_;
  int64_t blocks_;
  std::vector<double> copy_;
  std::vector<double> lines_;
  std::vector<Crossing> stack_;
};

// Turns heights of 0 and kFar into distances (squared ones for the euclidean metric).
void lower_all(Metric metric, const Grid& grid, const uint8_t* asks, double* heights) {
  for (size_t axis = grid.size.size(); axis-- > 0;) {
    Axis(metric, grid, axis).lower(heights, axis == 0 ? asks : nullptr);
  }
}

// Calls f(index, place in `outer`) for each pixel of a box of these sizes that starts at `corner`.
template <class F>
void for_box(const Grid& outer, const std::vector<int64_t>& corner,
             const std::vector<int64_t>& size, F&& f) {
  const size_t axes = size.size();
  std::vector<int64_t> at(axes, 0);
  int64_t rows = 1;
  for (size_t axis = 0; axis + 1 < axes; ++axis) {
    rows *= size[axis];
  }
  int64_t index = 0;
  for (int64_t row = 0; row < rows; ++row) {
    int64_t offset = 0;
    for (size_t axis = 0; axis < axes; ++axis) {
      offset = offset * outer.size[axis] + corner[axis] + (axis + 1 < axes ? at[axis] : 0);
    }
    for (int64_t x = 0; x < size[axes - 1]; ++x) {
      f(index++, offset + x);
    }
    for (size_t axis = axes - 1; axis-- > 0;) {
      if (++at[axis] < size[axis]) {
        break;
      }
      at[axis] = 0;
    }
  }
}

// One pair of masks within the box around both: which pixels are on their surfaces.
class Pair {
 public:
  Pair(const Grid& grid, const uint8_t* preds, const uint8_t* target) {
    find_box(grid, preds, target);
    if (!empty()) {
      mark(grid, preds, surfaces_[0]);
      mark(grid, target, surfaces_[1]);
    }
  }

  bool empty() const { return box_.size.empty(); }

  int64_t count(int64_t side) const {
    return std::count(surfaces_[side].begin(), surfaces_[side].end(), uint8_t{1});
  }

  // The distances from each pixel of one surface to the other one.
  std::vector<double> distances(Metric metric, int64_t side) const {
    const std::vector<uint8_t>& from = surfaces_[side];
    const std::vector<uint8_t>& to = surfaces_[1 - side];
    std::vector<double> heights(to.size());
    for (size_t i = 0; i < to.size(); ++i) {
      heights[i] = to[i] != 0 ? 0.0 : kFar;
    }
    lower_all(metric, box_, from.data(), heights.data());
    std::vector<double> found;
    for (size_t i = 0; i < from.size(); ++i) {
      if (from[i] != 0) {
        found.push_back(metric == kEuclidean ? std::sqrt(heights[i]) : heights[i]);
      }
    }
    return found;
  }

 private:
  void find_box(const Grid& grid, const uint8_t* preds, const uint8_t* target) {
    const size_t axes = grid.size.size();
    const int64_t width = grid.size[axes - 1];
    std::vector<int64_t> low(grid.size);
    std::vector<int64_t> high(axes, -1);
    const int64_t rows = grid.pixels() / width;
    for (int64_t row = 0; row < rows; ++row) {
      const uint8_t* a = preds + row * width;
      const uint8_t* b = target + row * width;
      uint8_t any = 0;
      for (int64_t x = 0; x < width; ++x) {
        any |= a[x] | b[x];
      }
      if (any == 0) {
        continue;
      }
      int64_t first = 0;
      int64_t last = width - 1;
      while ((a[first] | b[first]) == 0) {
        ++first;
      }
      while ((a[last] | b[last]) == 0) {
        --last;
      }
      low[axes - 1] = std::min(low[axes - 1], first);
      high[axes - 1] = std::max(high[axes - 1], last);
      for (size_t axis = axes - 1, rest = static_cast<size_t>(row); axis-- > 0;) {
        const int64_t at = static_cast<int64_t>(rest) % grid.size[axis];
        rest /= static_cast<size_t>(grid.size[axis]);
        low[axis] = std::min(low[axis], at);
        high[axis] = std::max(high[axis], at);
      }
    }
    if (high[axes - 1] < 0) {
      return;
    }
    corner_ = low;
    box_.spacing = grid.spacing;
    for (size_t axis = 0; axis < axes; ++axis) {
      box_.size.push_back(high[axis] - low[axis] + 1);
    }
  }

  // Pixels of a mask with a neighbour along an axis that is none of it.
  void mark(const Grid& grid, const uint8_t* mask, std::vector<uint8_t>& surface) const {
    std::vector<uint8_t> inside(static_cast<size_t>(box_.pixels()));
    for_box(grid, corner_, box_.size,
            [&](int64_t i, int64_t place) { inside[i] = mask[place] != 0; });
    std::vector<uint8_t> core(inside);
    for (size_t axis = 0; axis < box_.size.size(); ++axis) {
      const int64_t stride = box_.stride(axis);
      const int64_t count = box_.size[axis];
      for (int64_t begin = 0; begin < box_.pixels(); begin += count * stride) {
        for (int64_t x = 0; x < count; ++x) {
          for (int64_t i = begin + x * stride; i < begin + (x + 1) * stride; ++i) {
            const uint8_t before = x > 0 ? inside[i - stride] : uint8_t{0};
            const uint8_t behind = x + 1 < count ? inside[i + stride] : uint8_t{0};
            core[i] &= before & behind;
          }
        }
      }
    }
    surface.resize(inside.size());
    for (size_t i = 0; i < inside.size(); ++i) {
      surface[i] = inside[i] & static_cast<uint8_t>(core[i] ^ 1);
    }
  }

  Grid box_;
  std::vector<int64_t> corner_;
  std::array<std::vector<uint8_t>, 2> surfaces_;
};

// The value below which `percent` of the distances lie, between two of them if need be.
double percentile_of(std::vector<double>& distances, double percent) {
  const double place = static_cast<double>(distances.size() - 1) * percent / 100.0;
  const size_t below = static_cast<size_t>(place);
  const auto middle = distances.begin() + static_cast<std::ptrdiff_t>(below);
  std::nth_element(distances.begin(), middle, distances.end());
  const double low = *middle;
  if (below + 1 == distances.size()) {
    return low;
  }
  const double high = *std::min_element(middle + 1, distances.end());
  return high == low ? low : low + (high - low) * (place - static_cast<double>(below));
}

void summarise(std::vector<double>& distances, double tolerance, double percent, double* row) {
  for (const double distance : distances) {
    row[kMax] = std::max(row[kMax], distance);
    row[kSum] += distance;
    row[kWithin] += distance <= tolerance ? 1.0 : 0.0;
  }
  if (!distances.empty()) {
    row[kPercentile] = percent == 100.0 ? row[kMax] : percentile_of(distances, percent);
  }
}

Metric metric_of(int64_t metric) {
  require(metric >= kEuclidean && metric <= kTaxicab, "`metric` must be in [0, 2].");
  return static_cast<Metric>(metric);
}

Grid grid_of(const Tensor& masks, const std::vector<double>& spacing) {
  require(masks.dim() >= 2 && static_cast<int64_t>(spacing.size()) == masks.dim() - 1,
          "`spacing` must have a number for each axis of pixels.");
  Grid grid;
  for (int64_t axis = 1; axis < masks.dim(); ++axis) {
    grid.size.push_back(masks.size(axis));
    grid.spacing.push_back(spacing[axis - 1]);
    require(spacing[axis - 1] > 0, "`spacing` must be positive.");
  }
  return grid;
}

// Bytes of masks that lie in one piece.
const uint8_t* mask_data(const Tensor& masks) {
  require(masks.scalar_type() == ScalarType::Bool && masks.is_contiguous(),
          "masks must be bool and contiguous.");
  return static_cast<const uint8_t*>(masks.const_data_ptr());
}

void surface_distances_cpu(Tensor state, const Tensor& preds, const Tensor& target,
                           std::vector<double> spacing, int64_t metric, double tolerance,
                           double percentile, bool both) {
  const Grid grid = grid_of(preds, spacing);
  const int64_t pairs = preds.size(0);
  require(target.dim() == preds.dim(), "`preds` and `target` must fit.");
  for (int64_t axis = 0; axis < preds.dim(); ++axis) {
    require(target.size(axis) == preds.size(axis), "`preds` and `target` must fit.");
  }
  require(state.scalar_type() == ScalarType::Double && state.dim() == 3 && state.size(0) == pairs &&
              state.size(1) == 2 && state.size(2) == kColumns,
          "the state of surface_distances_ must be float64 [M, 2, 5].");
  require(percentile >= 0 && percentile <= 100, "`percentile` must be in [0, 100].");
  const Metric kind = metric_of(metric);
  double* rows = state_data<double>(state);
  const uint8_t* from = mask_data(preds);
  const uint8_t* to = mask_data(target);
  std::fill(rows, rows + state.numel(), 0.0);
  if (preds.numel() == 0) {
    return;
  }
  const int64_t pixels = grid.pixels();
  torch::stable::parallel_for(0, 2 * pairs, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t pair_at = task / 2;
      const int64_t side = task % 2;
      const Pair pair(grid, from + pair_at * pixels, to + pair_at * pixels);
      if (pair.empty()) {
        continue;
      }
      double* row = rows + task * kColumns;
      row[kCount] = static_cast<double>(pair.count(side));
      if (side == 0 || both) {
        std::vector<double> distances = pair.distances(kind, side);
        summarise(distances, tolerance, percentile, row);
      }
    }
  });
}

void distance_transform_cpu(Tensor state, const Tensor& masks, std::vector<double> spacing,
                            int64_t metric) {
  const Grid grid = grid_of(masks, spacing);
  const Metric kind = metric_of(metric);
  require(state.scalar_type() == ScalarType::Double && state.dim() == masks.dim(),
          "the state of distance_transform_ must be float64, of the shape of the masks.");
  for (int64_t axis = 0; axis < masks.dim(); ++axis) {
    require(state.size(axis) == masks.size(axis), "the state must fit the masks.");
  }
  if (masks.numel() == 0) {
    return;
  }
  double* heights = state_data<double>(state);
  const uint8_t* inside = mask_data(masks);
  const int64_t pixels = grid.pixels();
  torch::stable::parallel_for(0, masks.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * pixels; i < end * pixels; ++i) {
      heights[i] = inside[i] != 0 ? kFar : 0.0;
    }
    for (int64_t mask = begin; mask < end; ++mask) {
      lower_all(kind, grid, nullptr, heights + mask * pixels);
    }
    for (int64_t i = begin * pixels; i < end * pixels; ++i) {
      heights[i] = kind == kEuclidean ? std::sqrt(heights[i]) : heights[i];
    }
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<surface_distances_cpu>(library, "surface_distances_");
  register_op<distance_transform_cpu>(library, "distance_transform_");
}

}  // namespace fastmetrics
