// What sorting on several threads needs: images of scores, memory, tasks.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "stable.h"

namespace fastmetrics {

inline constexpr int kMaxDigit = 11;  // bits that one counting pass sorts by
inline constexpr int64_t kSamplesPerWorker = 1 << 15;

template <class T>
using ImageOf = std::conditional_t<sizeof(T) == 2, uint16_t,
                                   std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>;

template <class T>
inline constexpr ImageOf<T> kInfinityOf = 0;
template <>
inline constexpr uint16_t kInfinityOf<Half> = 0x7c00;
template <>
inline constexpr uint16_t kInfinityOf<BFloat16> = 0x7f80;
template <>
inline constexpr uint32_t kInfinityOf<float> = 0x7f800000;
template <>
inline constexpr uint64_t kInfinityOf<double> = 0x7ff0000000000000;

// Memory that is not cleared before it is written; large pages, where there are any, save the
// scattered writes from waiting for addresses.
template <class T>
class Uncleared {
 public:
  explicit Uncleared(int64_t count) {
    const size_t bytes = static_cast<size_t>(std::max<int64_t>(count, 1)) * sizeof(T);
    const size_t align = bytes < kLargePage ? 64 : kLargePage;
    const size_t size = (bytes + align - 1) / align * align;
    data_ = static_cast<T*>(std::aligned_alloc(align, size));
    if (data_ == nullptr) {
      throw std::bad_alloc();
    }
#if defined(__linux__)
    if (align == kLargePage) {
      madvise(data_, size, MADV_HUGEPAGE);
    }
#endif
  }
  ~Uncleared() { std::free(data_); }
  Uncleared(const Uncleared&) = delete;
  Uncleared& operator=(const Uncleared&) = delete;
  T* data() { return data_; }

 private:
  static constexpr size_t kLargePage = size_t{1} << 21;
  T* data_;
};

inline int64_t num_threads() { return static_cast<int64_t>(torch::stable::get_num_threads()); }

// Threads worth waking for so many samples.
inline int64_t num_workers(int64_t samples) {
  return std::clamp(samples / kSamplesPerWorker, int64_t{1}, num_threads());
}

// Calls f(part) for each part, in parallel when there is more than one.
template <class F>
void for_parts(int64_t parts, F&& f) {
  if (parts <= 1) {
    if (parts == 1) {
      f(int64_t{0});
    }
    return;
  }
  torch::stable::parallel_for(0, parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      f(part);
    }
  });
}

// Calls f(worker_state, task) for each task; threads take the next task as they get free.
template <class Worker, class F>
void for_tasks(int64_t tasks, int64_t workers, F&& f) {
  std::atomic<int64_t> next{0};
  for_parts(std::min(tasks, workers), [&](int64_t) {
    Worker worker;
    for (int64_t task = next++; task < tasks; task = next++) {
      f(worker, task);
    }
  });
}

}  // namespace fastmetrics
