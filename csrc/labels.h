// Labels of any integer type as small codes, and the words for the first one that does not fit.
#pragma once

#include "simd.h"
#include "stable.h"

namespace fastmetrics {

// Codes that are not classes. Everything at or above 0 is a class that counts.
inline constexpr int32_t kIgnored = -1;
inline constexpr int32_t kBad = -2;

// What a label must be: below `limit`, or equal to `ignore` where there is one.
struct LabelRule {
  int64_t limit;
  std::optional<int64_t> ignore;
};

class LabelReader {
 public:
  LabelReader(const Tensor& labels, LabelRule rule);

  // Writes the codes of `count` labels that start at `offset` and lie `stride` apart (in elements).
  void read(int64_t offset, int64_t stride, int64_t count, int32_t* codes) const {
    read_(data_, offset, stride, count, rule_, codes);
  }

 private:
  using Read = void (*)(const void*, int64_t, int64_t, int64_t, const LabelRule&, int32_t*);
  const void* data_;
  LabelRule rule_;
  Read read_;
};

// Raise for the first bad label of an argument, or of several in their order. Only called when a
// kernel saw one; reads the labels a second time.
struct LabelArgument {
  const char* name;
  const Tensor& tensor;
  LabelRule rule;
  const Tensor* unless_ignored = nullptr;  // labels whose partner here is ignored may be anything
};
void raise_if_bad(const char* op, const LabelArgument& argument, std::optional<int64_t> ignore);
[[noreturn]] void raise_first_bad(const char* op, std::span<const LabelArgument> arguments,
                                  std::optional<int64_t> ignore);

}  // namespace fastmetrics
