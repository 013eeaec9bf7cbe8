// A tensor as the kernels see it: where its elements lie. It owns nothing; who calls a kernel keeps
// the memory alive. Ops that come through torch's dispatcher and those that are called directly
// (direct.h) hand their tensors over in this form.
#pragma once

#include <torch/headeronly/core/ScalarType.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace fastmetrics {

using torch::headeronly::ScalarType;

// Out of line: kernels ask in hundreds of places.
[[noreturn, gnu::noinline]] inline void refuse(const char* message) {
  throw std::invalid_argument(message);
}

// Memory safety only; the Python side has checked the metadata and worded the errors.
inline void require(bool ok, const char* message) {
  if (!ok) {
    refuse(message);
  }
}

class Tensor {
 public:
  Tensor() = default;
  Tensor(void* data, const int64_t* sizes, const int64_t* strides, int64_t axes, ScalarType type,
         int64_t element_size)
      : data_(data),
        sizes_(sizes),
        strides_(strides),
        axes_(axes),
        type_(type),
        element_size_(element_size) {
    for (int64_t axis = 0; axis < axes; ++axis) {
      numel_ *= sizes[axis];
    }
  }

  int64_t dim() const { return axes_; }
  int64_t numel() const { return numel_; }
  ScalarType scalar_type() const { return type_; }
  int64_t element_size() const { return element_size_; }
  // Negative axes count from the last.
  int64_t size(int64_t axis) const { return sizes_[checked(axis)]; }
  int64_t stride(int64_t axis) const { return strides_[checked(axis)]; }
  const void* const_data_ptr() const { return data_; }
  void* mutable_data_ptr() const { return data_; }

  bool is_contiguous() const {
    int64_t expected = 1;
    for (int64_t axis = axes_ - 1; axis >= 0 && numel_ > 0; --axis) {
      if (sizes_[axis] != 1 && strides_[axis] != expected) {
        return false;
      }
      expected *= sizes_[axis];
    }
    return true;
  }

 private:
  int64_t checked(int64_t axis) const {
    axis += axis < 0 ? axes_ : 0;
    require(axis >= 0 && axis < axes_, "a tensor has fewer axes than this op needs.");
    return axis;
  }

  void* data_ = nullptr;
  const int64_t* sizes_ = nullptr;
  const int64_t* strides_ = nullptr;
  int64_t axes_ = 0;
  int64_t numel_ = 1;
  ScalarType type_ = ScalarType::Undefined;
  int64_t element_size_ = 0;
};

}  // namespace fastmetrics
