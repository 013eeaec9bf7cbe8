// merge_cells_: counts of scores that are known up to an interval, brought down to K intervals.
//
// A cell counts the negatives and positives among scores between its first and its last image; a
// score that is known is a cell of one image. Images are read as paths in a binary tree, from the
// highest bit down. A cell belongs to the deepest node that holds all of it, and cells sorted by
// the first leaf of their node, shallow nodes first, lie in preorder: the cells below a node are
// neighbours. So the tree is never built. Going down from the root, what lies below a node becomes
// one cell as soon as it is light, that is, at most a k-th of all negatives and of all positives;
// the cells of a heavy node itself stay one cell, which may overlap those below it. k is the
// largest of a few that leave room.
#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

#include "stable.h"

namespace fastmetrics {
namespace {

constexpr int kBits = 64;
constexpr uint64_t kSign = uint64_t{1} << 63;
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

class Merger {
 public:
  Merger(const std::vector<Cell>& cells, size_t room) : cells_(cells), room_(room) {
    sums_.reserve(cells.size() + 1);
    sums_.push_back({0, 0});
    for (const Cell& cell : cells) {
      sums_.push_back({sums_.back().negatives + cell.negatives,  //
                       sums_.back().positives + cell.positives});
    }
    merged_.reserve(room);
  }

  const std::vector<Cell>& run() {
    double k = std::numeric_limits<double>::infinity();
    for (int i = 0; !fits(k); ++i) {
      require(i <= kHalvings, "the state has too few cells.");
      k = i == 0 ? static_cast<double>(room_) : k / 2;
    }
    return merged_;
  }

 private:
  struct Sum {
    double negatives;
    double positives;
  };

  bool fits(double k) {
    k_ = k;
    merged_.clear();
    return cells_.empty() || descend(0, cells_.size());
  }

  bool light(size_t begin, size_t end) const {
    const double negatives = sums_[end].negatives - sums_[begin].negatives;
    const double positives = sums_[end].positives - sums_[begin].positives;
    return !(negatives * k_ > sums_.back().negatives) && !(positives * k_ > sums_.back().positives);
  }

  bool emit(size_t begin, size_t end) {
    if (merged_.size() == room_) {
      return false;
    }
    Cell cell = cells_[begin];
    for (size_t i = begin + 1; i < end; ++i) {
      cell.first = std::min(cell.first, cells_[i].first);
      cell.last = std::max(cell.last, cells_[i].last);
      cell.negatives += cells_[i].negatives;
      cell.positives += cells_[i].positives;
    }
    merged_.push_back(cell);
    return true;
  }

  // Writes the cells of the deepest node over [begin, end); false if there is no room for them.
  bool descend(size_t begin, size_t end) {
    if (end - begin == 1 || light(begin, end)) {
      return emit(begin, end);
    }
    const uint64_t leaf = cells_[begin].leaf;
    const int level = std::min(cells_[begin].level, std::countl_zero(leaf ^ cells_[end - 1].leaf));
    size_t own = begin;
    while (own < end && cells_[own].level == level && cells_[own].leaf == leaf) {
      ++own;
    }
    if (own > begin && !emit(begin, own)) {
      return false;
    }
    if (own == end) {
      return true;
    }
    const uint64_t bit = kSign >> level;
    const auto middle =
        std::partition_point(cells_.begin() + own, cells_.begin() + end,
                             [bit](const Cell& cell) { return !(cell.leaf & bit); });
    const auto split = static_cast<size_t>(middle - cells_.begin());
    return (split == own || descend(own, split)) && (split == end || descend(split, end));
  }

  const std::vector<Cell>& cells_;
  size_t room_;
  double k_ = 0;
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

void merge_cells_cpu(Tensor cells, Tensor counts, const Tensor& more, const Tensor& more_counts) {
  check_cells(cells, counts);
  check_cells(more, more_counts);
  std::vector<Cell> all;
  all.reserve(cells.size(0) + more.size(0));
  append(cells, counts, all);
  append(more, more_counts, all);
  sort_runs(all);
  const auto room = static_cast<size_t>(cells.size(0));
  Merger merger(all, room);
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

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  library.impl("merge_cells_", TORCH_BOX(&merge_cells_cpu));
}

}  // namespace fastmetrics
