// What a direct call reads off its arguments, and the functions that Python calls.
#include "direct.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace fastmetrics {
namespace {

// DLPack, as its specification lays it out (version 1; dmlc.github.io/dlpack).
struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  int32_t device_type;
  int32_t device_id;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLManagedTensorVersioned {
  uint32_t major;
  uint32_t minor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensorVersioned* self);
  uint64_t flags;
  DLTensor dl_tensor;
};
struct DLPackExchangeAPI {
  uint32_t major;
  uint32_t minor;
  void* previous;
  void* managed_tensor_allocator;
  void* managed_tensor_from_py_object_no_sync;
  int (*managed_tensor_to_py_object_no_sync)(DLManagedTensorVersioned* tensor, void** out);
  int (*dltensor_from_py_object_no_sync)(void* object, DLTensor* out);
  void* current_work_stream;
};
constexpr int32_t kCpu = 1;
constexpr DLDataType kFloat32{2, 32, 1};
constexpr DLDataType kFloat64{2, 64, 1};

// A tensor of our own, with one axis or none.
struct Numbers {
  DLManagedTensorVersioned managed;
  std::vector<double> values;  // or floats, in their place
  int64_t size;
  int64_t step = 1;

  void set(int64_t place, double value, bool is_double) {
    const float rounded = static_cast<float>(value);  // to infinity, too, as a tensor does
    is_double
        ? std::memcpy(values.data() + place, &value, sizeof(value))
        : std::memcpy(reinterpret_cast<float*>(values.data()) + place, &rounded, sizeof(rounded));
  }
};

// What torch says once, when the module is loaded; the objects live as long as the process.
struct Torch {
  const DLPackExchangeAPI* dlpack = nullptr;
  std::vector<PyTypeObject*> tensor_types;  // those whose objects are nothing but tensors
  std::vector<PyObject*> watchers;
  std::vector<PyObject*> byte_types;  // torch.int8 and torch.uint8
  PyObject* is_neg = nullptr;
  PyObject* dtype = nullptr;
};
Torch torch_says;

ScalarType scalar_type(DLDataType type) {
  switch (type.code << 8 | type.bits) {
    case 0x008:
      return ScalarType::Char;
    case 0x010:
      return ScalarType::Short;
    case 0x020:
      return ScalarType::Int;
    case 0x040:
      return ScalarType::Long;
    case 0x108:
      return ScalarType::Byte;
    case 0x210:
      return ScalarType::Half;
    case 0x220:
      return ScalarType::Float;
    case 0x240:
      return ScalarType::Double;
    case 0x410:
      return ScalarType::BFloat16;
    case 0x608:
      return ScalarType::Bool;
    default:
      return ScalarType::Undefined;
  }
}

bool is_plain(PyObject* object) {
  for (const PyTypeObject* type : torch_says.tensor_types) {
    if (Py_TYPE(object) == type) {
      return true;
    }
  }
  return false;
}

// Whether a bit of the tensor says that its elements are to be read with the other sign.
bool is_negated(PyObject* tensor) {
  PyObject* answer = PyObject_CallMethodNoArgs(tensor, torch_says.is_neg);
  PyErr_Clear();
  Py_XDECREF(answer);
  return answer != Py_False;
}

// Whether the elements are whole bytes: DLPack calls torch's smaller integers, too, integers of 8
// bits.
bool is_of_bytes(PyObject* tensor) {
  PyObject* dtype = PyObject_GetAttr(tensor, torch_says.dtype);
  PyErr_Clear();
  Py_XDECREF(dtype);
  return std::ranges::find(torch_says.byte_types, dtype) != torch_says.byte_types.end();
}

// Whether something is to see the op, or to have another one in its place: a mode, a transform, a
// tracer, a profiler.
bool is_watched() {
  for (PyObject* watcher : torch_says.watchers) {
    PyObject* answer = PyObject_CallNoArgs(watcher);
    const int watches = answer == nullptr ? 1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    if (watches != 0) {
      PyErr_Clear();
      return true;
    }
  }
  return false;
}

PyObject* call(PyObject* op, PyObject* const* arguments, Py_ssize_t count) {
  if (!is_watched()) {
    try {
      DirectCall direct(arguments, count);
      if (static_cast<const DirectOp*>(PyCapsule_GetPointer(op, nullptr))->run(direct)) {
        return direct.answer();
      }
    } catch (const std::exception&) {
      // The state is as it was. The same call through the dispatcher says what is wrong.
    }
  }
  Py_RETURN_FALSE;
}

// tensor(numbers, is_double): of a float, without axes, or of a list of them, with one; float32 or
// float64. None where torch has to make it.
PyObject* tensor(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 2 || is_watched()) {
    Py_RETURN_NONE;
  }
  PyObject* const numbers = arguments[0];
  const bool is_double = arguments[1] == Py_True;
  const bool is_list = PyList_CheckExact(numbers);
  auto made = std::make_unique<Numbers>();
  made->size = is_list ? PyList_GET_SIZE(numbers) : 1;
  made->values.resize(made->size);
  for (int64_t i = 0; i < made->size; ++i) {
    PyObject* const item = is_list ? PyList_GET_ITEM(numbers, i) : numbers;
    if (!PyFloat_Check(item)) {
      Py_RETURN_NONE;
    }
    made->set(i, PyFloat_AS_DOUBLE(item), is_double);
  }
  made->managed = {
      torch_says.dlpack->major,
      torch_says.dlpack->minor,
      made.get(),
      [](DLManagedTensorVersioned* self) { delete static_cast<Numbers*>(self->manager_ctx); },
      0,
      {made->values.data(), kCpu, 0, is_list, is_double ? kFloat64 : kFloat32, &made->size,
       &made->step, 0}};
  void* object = nullptr;
  if (torch_says.dlpack->managed_tensor_to_py_object_no_sync(&made->managed, &object) != 0) {
    PyErr_Clear();
    Py_RETURN_NONE;
  }
  made.release();  // it belongs to the tensor now
  return static_cast<PyObject*>(object);
}

}  // namespace

DirectCall::~DirectCall() {
  take_lock();
  for (PyObject* object : held_) {
    Py_DECREF(object);
  }
}

void DirectCall::take_lock() {
  if (lock_ != nullptr) {
    PyEval_RestoreThread(lock_);
    lock_ = nullptr;
  }
}

PyObject* DirectCall::answer() {
  take_lock();
  if (num_answers_ == 0) {
    Py_RETURN_TRUE;
  }
  PyObject* lists = PyTuple_New(num_answers_);
  size_t place = 0;
  for (size_t i = 0; i < num_fresh_; ++i) {
    const Fresh& state = fresh_[i];
    if (!state.is_answer) {
      continue;
    }
    PyObject* numbers = PyList_New(state.elements);
    PyTuple_SET_ITEM(lists, place++, numbers);
    for (int64_t k = 0; k < state.elements; ++k) {
      PyList_SET_ITEM(numbers, k,
                      state.is_float ? PyFloat_FromDouble(std::bit_cast<double>(state.data[k]))
                                     : PyLong_FromLongLong(state.data[k]));
    }
  }
  return lists;
}

bool DirectCall::read_fresh(PyObject* given, Tensor& tensor) {
  const size_t axes = PyTuple_GET_SIZE(given) - 1;
  if (num_fresh_ == fresh_.size() || axes > Fresh::kMaxAxes) {
    return false;
  }
  Fresh& state = fresh_[num_fresh_++];
  for (size_t axis = axes; axis-- > 0;) {
    const int64_t size = PyLong_AsLongLong(PyTuple_GET_ITEM(given, axis + 1));
    if (size <= 0 || size > Fresh::kMaxElements || state.elements * size > Fresh::kMaxElements) {
      PyErr_Clear();
      return false;
    }
    state.shape[axis] = size;
    state.strides[axis] = state.elements;
    state.elements *= size;
  }
  PyObject* const numbers = PyTuple_GET_ITEM(given, 0);
  state.is_answer = !PyList_CheckExact(numbers);
  if (state.is_answer) {
    ++num_answers_;
    state.is_float = numbers == Py_True;
    std::fill_n(state.data.begin(), state.elements, 0);
  } else if (!state.take(numbers)) {
    return false;
  }
  tensor = Tensor(state.data.data(), state.shape.data(), state.strides.data(), axes,
                  state.is_float ? ScalarType::Double : ScalarType::Long, sizeof(int64_t));
  return true;
}

bool DirectCall::Fresh::take(PyObject* numbers) {
  if (PyList_GET_SIZE(numbers) != elements) {
    return false;
  }
  is_float = PyFloat_Check(PyList_GET_ITEM(numbers, 0));
  for (int64_t k = 0; k < elements; ++k) {
    PyObject* const item = PyList_GET_ITEM(numbers, k);
    if (!(is_float ? PyFloat_Check(item) : PyLong_Check(item))) {
      return false;
    }
    data[k] = is_float ? std::bit_cast<int64_t>(PyFloat_AS_DOUBLE(item)) : PyLong_AsLongLong(item);
  }
  const bool fits = PyErr_Occurred() == nullptr;
  PyErr_Clear();
  return fits;
}

bool DirectCall::start() {
  if (understood_ && next_ == end_) {
    lock_ = PyEval_SaveThread();
    return true;
  }
  return false;
}

bool DirectCall::read(PyObject* given, Tensor& tensor) {
  if (PyTuple_CheckExact(given) && PyTuple_GET_SIZE(given) > 0) {
    return read_fresh(given, tensor);
  }
  DLTensor found;
  if (!is_plain(given) || torch_says.dlpack->dltensor_from_py_object_no_sync(given, &found) != 0) {
    PyErr_Clear();
    return false;
  }
  const ScalarType type = scalar_type(found.dtype);
  const bool is_float = found.dtype.code == 2 || found.dtype.code == 4;
  const bool is_byte = type == ScalarType::Char || type == ScalarType::Byte;
  const bool without_strides = found.strides == nullptr && found.ndim > 0;
  if (found.device_type != kCpu || type == ScalarType::Undefined || without_strides ||
      found.byte_offset != 0 || (is_float && is_negated(given)) ||
      (is_byte && !is_of_bytes(given))) {
    return false;
  }
  tensor = Tensor(found.data, found.shape, found.strides, found.ndim, type, found.dtype.bits / 8);
  return found.data != nullptr || tensor.numel() == 0;
}

bool DirectCall::read(PyObject* given, int64_t& number) {
  if (!PyLong_Check(given)) {
    return false;
  }
  number = PyLong_AsLongLong(given);
  const bool fits = number != -1 || PyErr_Occurred() == nullptr;
  PyErr_Clear();
  return fits;
}

bool DirectCall::read(PyObject* given, double& number) {
  if (!PyFloat_Check(given)) {
    return false;
  }
  number = PyFloat_AS_DOUBLE(given);
  return true;
}

bool DirectCall::read(PyObject* given, bool& flag) {
  flag = given == Py_True;
  return PyBool_Check(given);
}

template <class T>
bool DirectCall::read(PyObject* given, std::optional<T>& value) {
  return given == Py_None || read(given, value.emplace());
}

template <class T>
bool DirectCall::read(PyObject* given, std::vector<T>& values) {
  if (!PyList_CheckExact(given)) {
    return false;
  }
  values.resize(PyList_GET_SIZE(given));
  for (size_t i = 0; i < values.size(); ++i) {
    PyObject* item = PyList_GET_ITEM(given, i);
    held_.push_back(Py_NewRef(item));
    if (!read(item, values[i])) {
      return false;
    }
  }
  return true;
}

template bool DirectCall::read(PyObject*, std::optional<int64_t>&);
template bool DirectCall::read(PyObject*, std::optional<Tensor>&);
template bool DirectCall::read(PyObject*, std::vector<int64_t>&);
template bool DirectCall::read(PyObject*, std::vector<double>&);
template bool DirectCall::read(PyObject*, std::vector<Tensor>&);

namespace py = pybind11;

void bind_direct(py::module_& module) {
  module.def(
      "direct",
      [](const py::capsule& dlpack, const std::vector<py::type>& tensor_types,
         const std::vector<py::object>& byte_types, const std::vector<py::function>& watchers) {
        const auto* table = static_cast<const DLPackExchangeAPI*>(dlpack.get_pointer());
        py::dict ops;
        if (table->major != 1 || table->dltensor_from_py_object_no_sync == nullptr) {
          return std::pair(ops, py::object(py::none()));
        }
        torch_says = {table,
                      {},
                      {},
                      {},
                      PyUnicode_InternFromString("is_neg"),
                      PyUnicode_InternFromString("dtype")};
        for (py::type type : tensor_types) {
          torch_says.tensor_types.push_back(reinterpret_cast<PyTypeObject*>(type.release().ptr()));
        }
        for (py::object type : byte_types) {
          torch_says.byte_types.push_back(type.release().ptr());
        }
        for (py::function watcher : watchers) {
          torch_says.watchers.push_back(watcher.release().ptr());
        }
        static PyMethodDef methods[] = {
            {"run", (PyCFunction)(void*)&call, METH_FASTCALL,
             "Run the op; False, and nothing done, unless it can."},
            {"tensor", (PyCFunction)(void*)&tensor, METH_FASTCALL,
             "Make a tensor of a float, or of a list of them, float32 or, with `is_double`, "
             "float64; None unless it can."},
        };
        const auto made = [](PyMethodDef& method, PyObject* self) {
          return py::reinterpret_steal<py::object>(PyCFunction_New(&method, self));
        };
        for (DirectOp& op : direct_ops()) {
          const auto self = py::reinterpret_steal<py::object>(PyCapsule_New(&op, nullptr, nullptr));
          ops[op.name] = made(methods[0], self.ptr());
        }
        return std::pair(ops, made(methods[1], nullptr));
      },
      py::arg("dlpack"), py::arg("tensor_types"), py::arg("byte_types"), py::arg("watchers"),
      "Functions that run ops without the dispatcher, by name, and one that makes scalars.\n\n"
      "dlpack: the table of functions of the tensors; none of ours where it is another.\n"
      "tensor_types: the classes whose objects are nothing but tensors.\n"
      "byte_types: the dtypes of integers that take a byte.\n"
      "watchers: functions that answer with something true where an op has to be seen.");
}

}  // namespace fastmetrics
