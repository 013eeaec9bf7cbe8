// tensor_stats_: sums, squares, extremes, NaN and infinities of many tensors in one pass.
//
// The tensors are one stream of elements, cut into parts by its length alone. A part that ends
// inside of a tensor leaves partial statistics, which are merged in order.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "op.h"
#include "parallel.h"
#include "simd.h"

namespace fastmetrics {

// Statistics of some elements of one tensor.
struct TensorStats {
  int64_t count = 0;
  double sum = 0.0;
  double squares = 0.0;
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  int64_t nans = 0;
  int64_t infinities = 0;

  TensorStats& operator+=(const TensorStats& other) {
    count += other.count;
    sum += other.sum;
    squares += other.squares;
    min = std::min(min, other.min);
    max = std::max(max, other.max);
    nans += other.nans;
    infinities += other.infinities;
    return *this;
  }
};

// As many running totals side by side, whatever the width of the registers.
constexpr int64_t kStatLanes = 16;
// Elements added up before a look for NaN and infinities.
constexpr int64_t kStatBlock = 4096;

// Adds `count` elements that start at `offset` and lie `stride` apart.
using AddStats = void (*)(const void* data, int64_t offset, int64_t stride, int64_t count,
                          TensorStats& stats);

}  // namespace fastmetrics

#define FM_KERNELS "tensor_stats.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

constexpr int64_t kColumns = 8;  // fastmetrics/ops/tensor_stats.py names them

// One tensor, and where its elements begin in the stream.
struct Member {
  const void* data;
  AddStats add;
  Geometry geometry;
  int64_t begin;
  int64_t end;

  Member(const Tensor& tensor, int64_t begin)
      : data(nullptr), add(nullptr), begin(begin), end(begin + tensor.numel()) {
    require(is_score_type(tensor.scalar_type()), "`tensors` must be floating-point.");
    if (begin == end) {
      return;
    }
    data = tensor.const_data_ptr();
    add = with_score_type(tensor.scalar_type(),
                          [](auto number) { return FM_PICK(kAddStats<decltype(number)>); });
    if (tensor.is_contiguous()) {
      geometry.push(tensor.numel(), 1, 1);
      return;
    }
    for (int64_t axis = 0; axis < tensor.dim(); ++axis) {
      geometry.push(tensor.size(axis), tensor.stride(axis), tensor.stride(axis));
    }
  }

  TensorStats stats(int64_t first, int64_t last) const {
    TensorStats found;
    geometry.for_runs(first - begin, last - begin, [&](int64_t length, int64_t offset, int64_t) {
      add(data, offset, geometry.inner_a(), length, found);
    });
    return found;
  }
};

void add_to_row(const TensorStats& found, double* row) {
  row[0] += 1.0;
  if (found.count > 0) {
    const bool first = row[1] == 0.0;
    row[4] = first ? found.min : std::min(row[4], found.min);
    row[5] = first ? found.max : std::max(row[5], found.max);
  }
  row[1] += static_cast<double>(found.count);
  row[2] += found.sum;
  row[3] += found.squares;
  row[6] += static_cast<double>(found.nans);
  row[7] += static_cast<double>(found.infinities);
}

void tensor_stats_cpu(Tensor state, std::vector<Tensor> tensors) {
  require(state.scalar_type() == ScalarType::Double && state.dim() == 2 &&
              state.size(1) == kColumns && state.size(0) == static_cast<int64_t>(tensors.size()),
          "the metric state must be float64 [L, 8], with one row per tensor.");
  double* rows = state_data<double>(state);
  std::vector<Member> members;
  members.reserve(tensors.size());
  int64_t total = 0;
  int64_t bytes = 0;
  for (const Tensor& tensor : tensors) {
    members.emplace_back(tensor, total);
    bytes += tensor.numel() * static_cast<int64_t>(tensor.element_size());
    total = members.back().end;
  }
  if (total == 0) {
    return;
  }
  const Partition partition(total, std::max<int64_t>(1, bytes / total), 1, false, kStatBlock);
  // Part p of tensor t has a place of its own: going on means another tensor or another part.
  std::vector<TensorStats> found(members.size() + static_cast<size_t>(partition.parts));
  partition.run([&](int64_t part, int64_t first, int64_t last) {
    auto member = std::upper_bound(members.begin(), members.end(), first,
                                   [](int64_t place, const Member& m) { return place < m.end; });
    for (; member != members.end() && member->begin < last; ++member) {
      if (member->begin < member->end) {
        found[static_cast<size_t>(member - members.begin() + part)] =
            member->stats(std::max(first, member->begin), std::min(last, member->end));
      }
    }
  });
  for (size_t i = 0; i < members.size(); ++i) {
    const Member& member = members[i];
    if (member.begin == member.end) {
      continue;
    }
    TensorStats whole;
    const int64_t last_part = (member.end - 1) / partition.length;
    for (int64_t part = member.begin / partition.length; part <= last_part; ++part) {
      whole += found[i + static_cast<size_t>(part)];
    }
    add_to_row(whole, rows + static_cast<int64_t>(i) * kColumns);
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<tensor_stats_cpu>(library, "tensor_stats_");
}

}  // namespace fastmetrics
