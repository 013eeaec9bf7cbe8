// Words of strings, and their numbers.
#include "strings.h"

namespace fastmetrics {

Texts::Texts(const pybind11::sequence& strings)
    : held_(pybind11::reinterpret_steal<pybind11::tuple>(PySequence_Tuple(strings.ptr()))) {
  if (!held_) {
    throw pybind11::error_already_set();
  }
  const auto count = static_cast<Py_ssize_t>(held_.size());
  texts_.reserve(static_cast<size_t>(count));
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* string = PyTuple_GET_ITEM(held_.ptr(), i);
    if (!PyUnicode_Check(string)) {
      throw pybind11::type_error("not a string");
    }
#if PY_VERSION_HEX < 0x030c0000
    if (PyUnicode_READY(string) != 0) {
      throw pybind11::error_already_set();
    }
#endif
    texts_.push_back({PyUnicode_DATA(string), static_cast<int64_t>(PyUnicode_GET_LENGTH(string)),
                      static_cast<int>(PyUnicode_KIND(string))});
    bytes_ += texts_.back().size * texts_.back().width;
  }
}

bool same_points(const Text& a, const Text& b) {
  if (a.size != b.size) {
    return false;
  }
  if (a.width == b.width) {
    return std::memcmp(a.data, b.data, static_cast<size_t>(a.size * a.width)) == 0;
  }
  return with_points(a, [&](const auto* left) {
    return with_points(b, [&](const auto* right) {
      return std::equal(left, left + a.size, right, [](uint32_t x, uint32_t y) { return x == y; });
    });
  });
}

void split_words(const Text& text, std::vector<Word>& words) {
  with_points(text, [&](const auto* points) {
    int64_t i = 0;
    while (i < text.size) {
      if (is_space(points[i])) {
        ++i;
        continue;
      }
      const int64_t begin = i;
      uint64_t hash = 0;
      for (; i < text.size && !is_space(points[i]); ++i) {
        hash = joined(hash, points[i]);
      }
      words.push_back({{points + begin, i - begin, text.width}, mixed(hash)});
    }
  });
}

uint32_t Vocabulary::number(const Word& word) {
  const size_t mask = slots_.size() - 1;
  size_t slot = word.hash & mask;
  for (; slots_[slot] != 0; slot = (slot + 1) & mask) {
    const Word& known = words_[slots_[slot] - 1];
    if (known.hash == word.hash && same_points(known.text, word.text)) {
      return slots_[slot] - 1;
    }
  }
  words_.push_back(word);
  slots_[slot] = size();
  if (2 * words_.size() > slots_.size()) {
    grow();
  }
  return size() - 1;
}

void Vocabulary::grow() {
  const size_t mask = 2 * slots_.size() - 1;
  slots_.assign(mask + 1, 0);
  for (size_t i = 0; i < words_.size(); ++i) {
    size_t slot = words_[i].hash & mask;
    while (slots_[slot] != 0) {
      slot = (slot + 1) & mask;
    }
    slots_[slot] = static_cast<uint32_t>(i + 1);
  }
}

void Vocabulary::clear() {
  if (slots_.size() > 64 && words_.size() < slots_.size() / 8) {  // of a longer text before
    slots_.resize(64);
  }
  words_.clear();
  std::fill(slots_.begin(), slots_.end(), 0);
}

}  // namespace fastmetrics
