// A tensor of scores behind one load function. Included after the kernels that build on values.inl.
#pragma once

#include "values.h"

namespace fastmetrics {

// The tensor of scores behind one load function; no copy where its values can be used in place.
template <class V>
class ScoreSource {
 public:
  explicit ScoreSource(const Tensor& preds) : data_(preds.const_data_ptr()) {
    with_score_type(preds.scalar_type(), [&](auto type) {
      using T = decltype(type);
      if constexpr (std::is_same_v<ValueOf<T>, V>) {
        load_ = FM_PICK(kLoadScores<T>);
        in_place_ = std::is_same_v<T, V>;
      }
    });
  }

  void load(int64_t offset, int64_t stride, int64_t count, V* values) const {
    load_(data_, offset, stride, count, values);
  }
  bool in_place() const { return in_place_; }
  const V* at(int64_t offset) const { return static_cast<const V*>(data_) + offset; }

 private:
  const void* data_;
  LoadScores<V> load_ = nullptr;
  bool in_place_ = false;
};

}  // namespace fastmetrics
