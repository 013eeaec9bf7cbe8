// Python strings as the kernels read them.
//
// A `str` keeps its code points side by side, in 1, 2 or 4 bytes each, whatever the widest of them
// needs. Kernels read them there: a `Text` is pointer, length and width, and nothing is copied or
// encoded. `Texts` holds the strings of a sequence, so that they outlive the interpreter lock,
// which a kernel gives back before it works (`each_text`). The same word may lie in 1 byte per code
// point in one string and in 4 in another, so hashes and comparisons go by code points, not by
// bytes.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "stable.h"

namespace fastmetrics {

struct Text {
  const void* data;
  int64_t size;
  int width;  // bytes of a code point
};

// Calls f(points), the code points of a text as an array of uint8_t, uint16_t or uint32_t.
template <class F>
auto with_points(const Text& text, F&& f) {
  switch (text.width) {
    case 1:
      return f(static_cast<const uint8_t*>(text.data));
    case 2:
      return f(static_cast<const uint16_t*>(text.data));
    default:
      return f(static_cast<const uint32_t*>(text.data));
  }
}

// The strings of a list or tuple, kept alive. Made and destroyed under the interpreter lock.
class Texts {
 public:
  // Raises TypeError for what is no string; Python words it.
  explicit Texts(const pybind11::sequence& strings);

  int64_t size() const { return static_cast<int64_t>(texts_.size()); }
  const Text& operator[](int64_t i) const { return texts_[static_cast<size_t>(i)]; }
  int64_t bytes() const { return bytes_; }

 private:
  pybind11::tuple held_;
  std::vector<Text> texts_;
  int64_t bytes_ = 0;
};

// What `str.split()` takes for a gap between words.
inline bool is_space(uint32_t point) {
  if (point < 0x80) {
    return point == ' ' || (point >= 9 && point <= 13) || (point >= 28 && point <= 31);
  }
  return point == 0x85 || point == 0xa0 || point == 0x1680 ||
         (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 ||
         point == 0x202f || point == 0x205f || point == 0x3000;
}

// A piece of a text and the hash of its code points.
struct Word {
  Text text;
  uint64_t hash;
};

inline uint64_t mixed(uint64_t hash) {
  hash ^= hash >> 32;
  hash *= 0xd6e8feb86659fd93u;
  return hash ^ (hash >> 32);
}

inline uint64_t joined(uint64_t hash, uint64_t value) {
  return (hash ^ value) * 0x9e3779b97f4a7c15u + (hash >> 29);
}

bool same_points(const Text& a, const Text& b);

// The words of a text, as `str.split()` finds them, behind those that are there.
void split_words(const Text& text, std::vector<Word>& words);

// Numbers words from 0 in the order in which they come first.
class Vocabulary {
 public:
  uint32_t number(const Word& word);
  uint32_t size() const { return static_cast<uint32_t>(words_.size()); }
  void clear();

 private:
  void grow();

  std::vector<Word> words_;
  std::vector<uint32_t> slots_ = std::vector<uint32_t>(64, 0);  // number + 1; 0 is free
};

// Calls f(first, last) for ranges of the samples, without the interpreter lock, in several threads
// where `work` (nanoseconds of one thread, roughly) is worth it. Each sample has its own result, so
// nothing depends on the split.
template <class F>
void each_text(int64_t samples, int64_t work, F&& f) {
  // Strings lie in the cache of one core: what takes it 0.35 ms takes two threads 0.32.
  constexpr int64_t kWorkPerThread = 500'000;
  pybind11::gil_scoped_release release;
  if (work < 2 * kWorkPerThread || samples < 2) {
    f(int64_t{0}, samples);
    return;
  }
  const int64_t grain = std::max<int64_t>(1, samples * kWorkPerThread / work);
  torch::stable::parallel_for(0, samples, grain, f);
}

// Each family of kernels over strings puts its functions into the module.
void bind_chrf(pybind11::module_& module);
void bind_edits(pybind11::module_& module);
void bind_extended_edits(pybind11::module_& module);
void bind_ngrams(pybind11::module_& module);
void bind_rouge(pybind11::module_& module);
void bind_shifts(pybind11::module_& module);

}  // namespace fastmetrics
