// Ops called without torch's dispatcher, which takes longer than a small batch: 2 of 3
// microseconds.
//
// Python hands over the arguments as they are, and DLPack's table of C functions, which torch has
// for its tensors, says where their elements lie. In the place of a state may stand what it would
// be made of, `(is_float, *shape)`: then it is made here, of zeros, and the call returns its
// numbers. Such numbers may stand in the place of a tensor, too: `(numbers, *shape)`. What a call
// does not understand, or a kernel refuses, goes the long way, where errors are worded:
// fastmetrics/ops/define.py.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "tensor.h"

// Objects and threads of Python, whose headers the kernels do not need.
struct _object;
struct _ts;
namespace pybind11 {
class module_;
}

namespace fastmetrics {

// The arguments of one call, read in order.
class DirectCall {
 public:
  DirectCall(_object* const* arguments, int64_t count) : next_(arguments), end_(next_ + count) {}
  DirectCall(const DirectCall&) = delete;
  DirectCall& operator=(const DirectCall&) = delete;
  ~DirectCall();  // takes the lock of the interpreter back

  template <class T>
  T next() {
    T value{};
    understood_ = understood_ && next_ != end_ && read(*next_++, value);
    return value;
  }

  // Whether every argument was understood; gives the lock of the interpreter away if so.
  bool start();
  // What Python gets once the kernel has run: True, or a list of numbers for each state made here.
  _object* answer();

 private:
  // The state of one batch, float64 or int64, or numbers that Python gave.
  struct Fresh {
    static constexpr int64_t kMaxAxes = 4;
    static constexpr int64_t kMaxElements = 128;

    bool take(_object* numbers);

    bool is_float = false;
    bool is_answer = false;  // made here, for Python
    int64_t elements = 1;
    std::array<int64_t, kMaxAxes> shape;
    std::array<int64_t, kMaxAxes> strides;
    std::array<int64_t, kMaxElements> data;  // doubles as their bits
  };

  void take_lock();
  bool read_fresh(_object* given, Tensor& tensor);
  bool read(_object* given, Tensor& tensor);
  bool read(_object* given, int64_t& number);
  bool read(_object* given, double& number);
  bool read(_object* given, bool& flag);
  template <class T>
  bool read(_object* given, std::optional<T>& value);
  template <class T>
  bool read(_object* given, std::vector<T>& values);

  _object* const* next_;
  _object* const* end_;
  bool understood_ = true;
  std::array<Fresh, 3> fresh_;
  size_t num_fresh_ = 0;
  size_t num_answers_ = 0;
  std::vector<_object*> held_;  // items of lists, which other threads may change meanwhile
  _ts* lock_ = nullptr;
};

struct DirectOp {
  const char* name;
  bool (*run)(DirectCall& call);
};

inline std::vector<DirectOp>& direct_ops() {
  static std::vector<DirectOp> ops;
  return ops;
}

void bind_direct(pybind11::module_& module);

}  // namespace fastmetrics
