// merge_cells_ and merge_points_: counts of scores that are known up to an interval, brought down
// to K intervals.
//
// A cell counts the negatives and positives among scores between its first and its last image; a
// point is a score that is known. Images are read as paths in a binary tree, from the highest bit
// down. A cell belongs to the deepest node that holds all of it, and cells sorted by the first leaf
// of their node, shallow nodes first, lie in preorder: the cells below a node are neighbours, and
// so are points. So the tree is never built. Going down from the root, what lies below a node
// becomes one cell as soon as it is light, that is, at most a k-th of all negatives and of all
// positives; the cells of a heavy node itself stay one cell, which may overlap those below it. k is
// the largest of a few that leave room.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "op.h"
#include "stable.h"

namespace fastmetrics {
namespace {

constexpr int kBits = 64;
constexpr uint64_t kSign = uint64_t{1} << 63;
constexpr double kFirst = 0.75;  // of the room is the first k
// Halved so often, k is so small that the nodes of all levels fit whatever the counts.
constexpr int kHalvings = 9;

struct Cell {
  uint64_t leaf;  // the first one of its node
  int level;      // of its node; kBits for a single image
  uint64_t first;
  uint64_t last;
  double negatives;
  double positives;

  bool operator<(const Cell& other) const {
    return leaf != other.leaf ? leaf < other.leaf : level < other.level;
  }
};

// Signed images order as unsigned ones with the sign flipped.
Cell make_cell(const int64_t* images, const double* counts) {
  const uint64_t first = static_cast<uint64_t>(images[0]) ^ kSign;
  const uint64_t last = static_cast<uint64_t>(images[1]) ^ kSign;
  const int level = std::countl_zero(first ^ last);
  const uint64_t below = level < kBits ? ~uint64_t{0} >> level : 0;
  return Cell{first & ~below, level, first, last, counts[0], counts[1]};
}

void append(const Tensor& cells, const Tensor& counts, std::vector<Cell>& all) {
  const auto* images = static_cast<const int64_t*>(cells.const_data_ptr());
  const auto* numbers = static_cast<const double*>(counts.const_data_ptr());
  const int64_t end = 2 * cells.size(0);
  for (int64_t i = 0; i < end; i += 2) {
    if (numbers[i] != 0 || numbers[i + 1] != 0) {
      all.push_back(make_cell(images + i, numbers + i));
    }
  }
}

// Sorts what mostly comes as a few sorted runs, ascending or descending: states, and points of
// curves.
void sort_runs(std::vector<Cell>& cells) {
  std::vector<size_t> borders{0};
  for (size_t begin = 0; begin < cells.size(); begin = borders.back()) {
    size_t end = begin + 1;
    while (end < cells.size() && !(cells[end] < cells[end - 1])) {
      ++end;
    }
    if (end == begin + 1) {
      while (end < cells.size() && !(cells[end - 1] < cells[end])) {
        ++end;
      }
      std::reverse(cells.begin() + begin, cells.begin() + end);
    }
    borders.push_back(end);
  }
  if (borders.size() > 16) {
    std::stable_sort(cells.begin(), cells.end());
    return;
  }
  for (; borders.size() > 2; borders.erase(borders.begin() + 1)) {
    std::inplace_merge(cells.begin(), cells.begin() + borders[1], cells.begin() + borders[2]);
  }
}

struct Sum {
  double negatives = 0;
  double positives = 0;

  Sum operator-(const Sum& other) const {
    return {negatives - other.negatives, positives - other.positives};
  }
  Sum operator+(const Sum& other) const {
    return {negatives + other.negatives, positives + other.positives};
  }
};

// Distinct scores by ascending image, and what lies at or above each, and above all.
struct Points {
  std::vector<uint64_t> images;
  std::vector<Sum> reached = std::vector<Sum>(1);

  size_t size() const { return images.size(); }
  Sum sum(size_t begin, size_t end) const { return reached[begin] - reached[end]; }
};

// Neighbours among the cells and among the points: what lies below one node.
struct Range {
  size_t cell;
  size_t end_cell;
  size_t point;
  size_t end_point;

  bool empty() const { return cell == end_cell && point == end_point; }
};

class Merger {
 public:
  Merger(const std::vector<Cell>& cells, const Points& points, size_t room)
      : cells_(cells), points_(points), room_(room) {
    sums_.reserve(cells.size() + 1);
    sums_.emplace_back();
    for (const Cell& cell : cells) {
      sums_.push_back(sums_.back() + Sum{cell.negatives, cell.positives});
    }
    all_ = {0, cells.size(), 0, points.size()};
    total_ = sum(all_);
    merged_.reserve(room);
  }

  const std::vector<Cell>& run() {
    // Points are distinct, so more than there is room for must be merged. Where scores are dense, k
    // leaves about k cells: the first one mostly fits.
    const double first = kFirst * static_cast<double>(room_);
    double k = points_.size() > room_ ? first : std::numeric_limits<double>::infinity();
    for (int i = 0; !fits(k); ++i) {
      require(i <= kHalvings, "the state has too few cells.");
      k = std::isinf(k) ? first : k / 2;
    }
    return merged_;
  }

 private:
  Sum sum(const Range& range) const {
    return sums_[range.end_cell] - sums_[range.cell] + points_.sum(range.point, range.end_point);
  }

  bool fits(double k) {
    k_ = k;
    merged_.clear();
    return all_.empty() || descend(all_);
  }

  bool light(const Sum& held) const {
    return !(held.negatives * k_ > total_.negatives) && !(held.positives * k_ > total_.positives);
  }

  bool emit(const Range& range) {
    if (merged_.size() == room_) {
      return false;
    }
    Cell cell{0, 0, ~uint64_t{0}, 0, 0, 0};
    Sum held = points_.sum(range.point, range.end_point);
    if (range.point < range.end_point) {
      cell.first = points_.images[range.point];
      cell.last = points_.images[range.end_point - 1];
    }
    for (size_t i = range.cell; i < range.end_cell; ++i) {
      cell.first = std::min(cell.first, cells_[i].first);
      cell.last = std::max(cell.last, cells_[i].last);
      held = held + Sum{cells_[i].negatives, cells_[i].positives};
    }
    cell.negatives = held.negatives;
    cell.positives = held.positives;
    if (held.negatives != 0 || held.positives != 0) {
      merged_.push_back(cell);
    }
    return true;
  }

  // Writes the cells of the deepest node that holds the range; false if there is no room for them.
  bool descend(const Range& range) {
    const auto [cell, end_cell, point, end_point] = range;
    if (end_cell - cell + end_point - point == 1 || light(sum(range))) {
      return emit(range);
    }
    uint64_t first = ~uint64_t{0};
    uint64_t last = 0;
    int level = kBits;
    if (point < end_point) {
      first = points_.images[point];
      last = points_.images[end_point - 1];
    }
    if (cell < end_cell) {
      first = std::min(first, cells_[cell].leaf);
      last = std::max(last, cells_[end_cell - 1].leaf);
      level = cells_[cell].level;
    }
    level = std::min(level, std::countl_zero(first ^ last));
    if (level == kBits) {
      return emit(range);
    }
    size_t own = cell;
    while (own < end_cell && cells_[own].level == level) {
      ++own;
    }
    if (own > cell && !emit({cell, own, point, point})) {
      return false;
    }
    const uint64_t bit = kSign >> level;
    const auto split_cell = static_cast<size_t>(
        std::partition_point(cells_.begin() + own, cells_.begin() + end_cell,
                             [bit](const Cell& each) { return !(each.leaf & bit); }) -
        cells_.begin());
    const auto split_point = static_cast<size_t>(
        std::partition_point(points_.images.begin() + point, points_.images.begin() + end_point,
                             [bit](uint64_t image) { return !(image & bit); }) -
        points_.images.begin());
    const Range lower{own, split_cell, point, split_point};
    const Range upper{split_cell, end_cell, split_point, end_point};
    return (lower.empty() || descend(lower)) && (upper.empty() || descend(upper));
  }

  const std::vector<Cell>& cells_;
  const Points& points_;
  size_t room_;
  double k_ = 0;
  Range all_{};
  Sum total_;
  std::vector<Sum> sums_;
  std::vector<Cell> merged_;
};

void check_cells(const Tensor& cells, const Tensor& counts) {
  require(cells.scalar_type() == ScalarType::Long && counts.scalar_type() == ScalarType::Double,
          "cells must be int64 and counts float64.");
  require(cells.dim() == 2 && counts.dim() == 2 && cells.size(1) == 2 && counts.size(1) == 2 &&
              cells.size(0) == counts.size(0) && cells.is_contiguous() && counts.is_contiguous(),
          "cells and counts must be contiguous [K, 2].");
}

// Makes the cells and points the cells of the state.
void merge(Tensor& cells, Tensor& counts, std::vector<Cell>& all, const Points& points) {
  const auto room = static_cast<size_t>(cells.size(0));
  sort_runs(all);
  Merger merger(all, points, room);
  const std::vector<Cell>& merged = merger.run();
  auto* images = state_data<int64_t>(cells);
  auto* numbers = state_data<double>(counts);
  for (const Cell& cell : merged) {
    *images++ = static_cast<int64_t>(cell.first ^ kSign);
    *images++ = static_cast<int64_t>(cell.last ^ kSign);
    *numbers++ = cell.negatives;
    *numbers++ = cell.positives;
  }
  std::fill_n(images, 2 * (room - merged.size()), int64_t{0});
  std::fill_n(numbers, 2 * (room - merged.size()), 0.0);
}

void merge_cells_cpu(Tensor cells, Tensor counts, const Tensor& more, const Tensor& more_counts) {
  check_cells(cells, counts);
  check_cells(more, more_counts);
  std::vector<Cell> all;
  all.reserve(cells.size(0) + more.size(0));
  append(cells, counts, all);
  append(more, more_counts, all);
  merge(cells, counts, all, Points{});
}

uint64_t image_of(double score) {
  const auto bits = std::bit_cast<uint64_t>(score + 0.0);
  return std::isnan(score) ? 0 : (bits & kSign) != 0 ? ~bits : bits ^ kSign;
}

void merge_points_cpu(Tensor cells, Tensor counts, const Tensor& fps, const Tensor& tps,
                      const Tensor& thresholds) {
  check_cells(cells, counts);
  const int64_t size = leading_size(thresholds);
  for (const Tensor* each : {&fps, &tps, &thresholds}) {
    require(each->dim() == 1 && each->size(0) == size && each->is_contiguous() &&
                each->scalar_type() == ScalarType::Double,
            "the points of a curve must be contiguous float64 [R].");
  }
  std::vector<Cell> all;
  append(cells, counts, all);
  const auto* lower = static_cast<const double*>(fps.const_data_ptr());
  const auto* higher = static_cast<const double*>(tps.const_data_ptr());
  const auto* scores = static_cast<const double*>(thresholds.const_data_ptr());
  Points points{std::vector<uint64_t>(size), std::vector<Sum>(size + 1)};
  for (int64_t i = 0; i < size; ++i) {
    points.images[size - 1 - i] = image_of(scores[i]);
    points.reached[size - 1 - i] = {lower[i], higher[i]};
  }
  require(std::is_sorted(points.images.begin(), points.images.end()), "`thresholds` must descend.");
  merge(cells, counts, all, points);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<merge_cells_cpu>(library, "merge_cells_");
  register_op<merge_points_cpu>(library, "merge_points_");
}

}  // namespace fastmetrics
