// Edit distances of pairs of strings, by code points or by words.
//
// Symbols are small numbers: bytes as they are, other code points and words as numbered by a
// vocabulary: masks of all code points would take 9 MB, and their first pages longer than a pair.
// The table of distances between prefixes is never made: neighbours in it differ by -1, 0 or 1, so
// 64 rows of a column are two words of bits, and a step to the next column is some twenty
// operations on words (Myers 1999, in the form of Hyyrö 2003). Four blocks of 64 rows at a time are
// worked off over all columns, each some columns behind the one above it, so that the masks of
// these blocks (where each symbol stands in them) are all that is looked up, whatever the number of
// symbols; what they hand to the next ones is one step for each column. A distance of at most k
// needs only cells within k of the diagonal (Ukkonen 1985): k doubles until the answer is within.
// Ends that both have in common are cut off first.
//
// Each pair has its own row of results, so threads take ranges of pairs.
#include "edits.h"

#include <pybind11/stl.h>

#include <array>
#include <bit>
#include <optional>

#include "simd.h"
#include "strings.h"

namespace fastmetrics {
namespace {

constexpr int64_t kRows = 64;
constexpr size_t kBlocks = 4;  // worked off together
constexpr uint64_t kUp = 1;    // a step of +1

template <class T>
void cut_common_ends(std::span<const T>& a, std::span<const T>& b) {
  size_t front = 0;
  const size_t shorter = std::min(a.size(), b.size());
  while (front < shorter && a[front] == b[front]) {
    ++front;
  }
  a = a.subspan(front);
  b = b.subspan(front);
  size_t back = 0;
  while (back < shorter - front && a[a.size() - 1 - back] == b[b.size() - 1 - back]) {
    ++back;
  }
  a = a.first(a.size() - back);
  b = b.first(b.size() - back);
}

// Where each symbol of `rows` stands, until destroyed.
template <class T>
class Marks {
 public:
  Marks(uint64_t* masks, std::span<const T> rows) : masks_(masks), rows_(rows) {
    uint64_t bit = 1;
    for (const T symbol : rows_) {
      masks_[symbol] |= bit;
      bit <<= 1;
    }
  }
  Marks(const Marks&) = delete;
  Marks& operator=(const Marks&) = delete;
  ~Marks() {
    for (const T symbol : rows_) {
      masks_[symbol] = 0;
    }
  }
  uint64_t operator[](T symbol) const { return masks_[symbol]; }

 private:
  uint64_t* masks_;
  std::span<const T> rows_;
};

// What so many steps add up to; a step is 1 for one up and 2 for one down.
int64_t sum_of_steps(const uint8_t* steps, int64_t count) {
  int64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum += (steps[i] & kUp) - (steps[i] >> 1);
  }
  return sum;
}

}  // namespace
}  // namespace fastmetrics

#define FM_KERNELS "edits.inl"
#include "each_isa.h"

namespace fastmetrics {

using baseline::Distance;

template <class T>
int64_t levenshtein(std::span<const T> a, std::span<const T> b, size_t symbols,
                    EditScratch& scratch) {
  cut_common_ends(a, b);
  if (a.size() > b.size()) {
    std::swap(a, b);
  }
  const auto longer = static_cast<int64_t>(b.size());
  if (a.empty()) {
    return longer;
  }
  if (static_cast<int64_t>(a.size()) <= kRows) {
    const Marks<T> marks(scratch.masks(symbols), a);
    Distance<uint64_t> column;
    const uint64_t bottom = a.size() - 1;
    auto value = static_cast<int64_t>(a.size());
    for (const T symbol : b) {
      const uint64_t out = column.step(marks[symbol], kUp, bottom);
      value += static_cast<int64_t>(out & kUp) - static_cast<int64_t>(out >> 1);
    }
    return value;
  }
  scratch.steps.resize(b.size());
  uint64_t* masks = scratch.masks(symbols * kBlocks);
  const int64_t apart = longer - static_cast<int64_t>(a.size());
  for (int64_t limit = std::max<int64_t>(4 * kRows, 2 * apart);;) {
    const int64_t value = FM_PICK(distance_within<T>)(a, b, limit, masks, scratch.steps.data());
    if (value <= limit || limit >= longer) {
      return value;
    }
    limit = value;  // of a path that is there, so that of the best one is within
  }
}

template <class T>
int64_t longest_common(std::span<const T> a, std::span<const T> b, size_t symbols,
                       EditScratch& scratch) {
  const size_t before = a.size();
  cut_common_ends(a, b);
  const auto ends = static_cast<int64_t>(before - a.size());
  if (a.size() > b.size()) {
    std::swap(a, b);
  }
  if (a.empty()) {
    return ends;
  }
  if (static_cast<int64_t>(a.size()) <= kRows) {
    const Marks<T> marks(scratch.masks(symbols), a);
    baseline::Common<uint64_t> column;
    for (const T symbol : b) {
      column.step(marks[symbol], 0, 0);
    }
    return ends + std::popcount(~column.row);
  }
  scratch.steps.resize(b.size());
  uint64_t* masks = scratch.masks(symbols * kBlocks);
  return ends + FM_PICK(common_length<T>)(a, b, masks, scratch.steps.data());
}

template int64_t levenshtein(std::span<const uint8_t>, std::span<const uint8_t>, size_t,
                             EditScratch&);
template int64_t levenshtein(std::span<const uint32_t>, std::span<const uint32_t>, size_t,
                             EditScratch&);
template int64_t longest_common(std::span<const uint8_t>, std::span<const uint8_t>, size_t,
                                EditScratch&);
template int64_t longest_common(std::span<const uint32_t>, std::span<const uint32_t>, size_t,
                                EditScratch&);

namespace {

// Columns of a row of results; fastmetrics/ops/edits.py names them.
constexpr int64_t kColumns = 5;

template <class T>
int64_t distance(std::span<const T> preds, std::span<const T> target, size_t symbols,
                 int64_t substitution, EditScratch& scratch) {
  const auto sizes = static_cast<int64_t>(preds.size() + target.size());
  const auto longer = static_cast<int64_t>(std::max(preds.size(), target.size()));
  switch (substitution) {
    case 0:
      return 2 * longer - sizes;
    case 1:
      return levenshtein(preds, target, symbols, scratch);
    default:  // a deletion and an insertion are as good
      return sizes - 2 * longest_common(preds, target, symbols, scratch);
  }
}

// The steps of the cheapest edits from `target` to `preds`: = keeps a symbol, S substitutes, D
// leaves one of the target out, I puts one of the predictions in. Of equally cheap ones, those that
// packages for speech recognition report. Keeps two bits for each cell of the table; nothing where
// these would take more than 1 GiB.
template <class T>
std::optional<std::string> edit_steps(std::span<const T> target, std::span<const T> preds,
                                      size_t symbols, EditScratch& scratch) {
  size_t front = 0;
  while (front < std::min(target.size(), preds.size()) && target[front] == preds[front]) {
    ++front;
  }
  const size_t whole = target.size();
  cut_common_ends(target, preds);
  const size_t rows = target.size(), columns = preds.size();
  const size_t back = whole - front - rows;
  const size_t blocks = (rows + kRows - 1) / kRows;
  constexpr size_t kMostColumns = size_t{1} << 26;  // 1 GiB of them
  if (blocks * columns > kMostColumns) {
    return std::nullopt;
  }
  std::vector<Distance<uint64_t>> table(blocks * columns);
  std::vector<uint64_t> above(columns, kUp);
  uint64_t* masks = scratch.masks(symbols);
  for (size_t block = 0; block < blocks; ++block) {
    const size_t top = block * kRows, height = std::min<size_t>(kRows, rows - top);
    const Marks<T> marks(masks, target.subspan(top, height));
    Distance<uint64_t> column;
    for (size_t j = 0; j < columns; ++j) {
      above[j] = column.step(marks[preds[j]], above[j], height - 1);
      table[block * columns + j] = column;
    }
  }
  const auto bit = [&](uint64_t Distance<uint64_t>::* part, size_t i, size_t j) {
    return table[(i - 1) / kRows * columns + j - 1].*part >> (i - 1) % kRows & 1;
  };
  std::string steps(back, '=');
  size_t i = rows, j = columns;
  while (i > 0 && j > 0) {
    if (bit(&Distance<uint64_t>::up, i, j)) {
      --i;
      steps += 'D';
    } else if (j > 1 && bit(&Distance<uint64_t>::down, i, j - 1)) {
      --j;
      steps += 'I';
    } else {
      --i;
      --j;
      steps += target[i] == preds[j] ? '=' : 'S';
    }
  }
  steps.append(i, 'D').append(j, 'I').append(front, '=');
  std::reverse(steps.begin(), steps.end());
  return steps;
}

// Numbers code points from 0 in the order in which they come first.
class CodePoints {
 public:
  uint32_t number(uint32_t point) {
    Slot& slot = slot_of(point);
    if (slot.number != kFree) {
      return slot.number;
    }
    slot = {point, size_++};
    if (2 * size_ > slots_.size()) {
      grow();
    }
    return size_ - 1;
  }
  size_t size() const { return size_; }

 private:
  static constexpr uint32_t kFree = ~uint32_t{0};
  struct Slot {
    uint32_t point = 0;
    uint32_t number = kFree;
  };

  // That of the point, or the free one where it belongs.
  Slot& slot_of(uint32_t point) {
    const size_t mask = slots_.size() - 1;
    size_t slot = mixed(point) & mask;
    while (slots_[slot].number != kFree && slots_[slot].point != point) {
      slot = (slot + 1) & mask;
    }
    return slots_[slot];
  }

  void grow() {
    std::vector<Slot> before(2 * slots_.size());
    before.swap(slots_);
    for (const Slot& known : before) {
      if (known.number != kFree) {
        slot_of(known.point) = known;
      }
    }
  }

  std::vector<Slot> slots_ = std::vector<Slot>(256);
  uint32_t size_ = 0;
};

class Pair {
 public:
  explicit Pair(int64_t substitution) : substitution_(substitution) {}

  void characters(const Text& preds, const Text& target, double* row) {
    int64_t edits;
    if (preds.width == 1 && target.width == 1) {
      edits = distance(points(preds), points(target), 256, substitution_, scratch_);
    } else {
      const auto left = spelled(preds, left_), right = spelled(target, right_);
      edits = distance(left, right, code_points_.size(), substitution_, scratch_);
    }
    write(row, edits, target.size, preds.size);
  }

  std::optional<std::string> steps(const Text& preds, const Text& target, bool words) {
    vocabulary_.clear();
    const auto left = words ? numbered(preds, left_) : spelled(preds, left_);
    const auto right = words ? numbered(target, right_) : spelled(target, right_);
    return edit_steps(right, left, words ? vocabulary_.size() : code_points_.size(), scratch_);
  }

  void words(const Text& preds, const Text& target, double* row) {
    vocabulary_.clear();
    const auto left = numbered(preds, left_), right = numbered(target, right_);
    const int64_t edits = distance(left, right, vocabulary_.size(), substitution_, scratch_);
    write(row, edits, static_cast<int64_t>(right.size()), static_cast<int64_t>(left.size()));
  }

 private:
  static std::span<const uint8_t> points(const Text& text) {
    return {static_cast<const uint8_t*>(text.data), static_cast<size_t>(text.size)};
  }

  std::span<const uint32_t> spelled(const Text& text, std::vector<uint32_t>& numbers) {
    numbers.resize(static_cast<size_t>(text.size));
    with_points(text, [&](const auto* points) {
      for (size_t i = 0; i < numbers.size(); ++i) {
        numbers[i] = code_points_.number(points[i]);
      }
    });
    return numbers;
  }

  std::span<const uint32_t> numbered(const Text& text, std::vector<uint32_t>& numbers) {
    words_.clear();
    split_words(text, words_);
    numbers.clear();
    for (const Word& word : words_) {
      numbers.push_back(vocabulary_.number(word));
    }
    return numbers;
  }

  static void write(double* row, int64_t edits, int64_t target, int64_t preds) {
    row[0] = static_cast<double>(edits);
    row[1] = static_cast<double>(target);
    row[2] = static_cast<double>(preds);
    row[3] = static_cast<double>(std::max(target, preds));
    row[4] = 1.0;
  }

  int64_t substitution_;
  EditScratch scratch_;
  Vocabulary vocabulary_;
  CodePoints code_points_;
  std::vector<Word> words_;
  std::vector<uint32_t> left_, right_;
};

// Nanoseconds of one thread, roughly: a look at each code point, and the steps of the blocks.
// Measured on pairs of 10 to 1,000 characters or words, off by a third at most above 10.
int64_t work_of(const Texts& preds, const Texts& target, bool words) {
  int64_t work = 0;
  for (int64_t i = 0; i < preds.size(); ++i) {
    const int64_t m = preds[i].size, n = target[i].size;
    work += 15 + (words ? 5 * (m + n) + m * n / 4096 : 5 * (m + n) / 2 + m * n / 128);
  }
  return work;
}

void fill_rows(const Texts& preds, const Texts& target, bool words, int64_t substitution,
               double* rows) {
  if (preds.size() != target.size()) {
    throw std::invalid_argument("lengths differ");
  }
  each_text(preds.size(), work_of(preds, target, words), [&](int64_t first, int64_t last) {
    Pair pair(substitution);
    for (int64_t i = first; i < last; ++i) {
      double* row = rows + i * kColumns;
      words ? pair.words(preds[i], target[i], row) : pair.characters(preds[i], target[i], row);
    }
  });
}

void edit_rows(uintptr_t address, const pybind11::sequence& preds, const pybind11::sequence& target,
               bool words, int64_t substitution) {
  fill_rows(Texts(preds), Texts(target), words, substitution, reinterpret_cast<double*>(address));
}

void edit_sums(uintptr_t address, const pybind11::sequence& preds_in,
               const pybind11::sequence& target_in, bool words, int64_t substitution) {
  const Texts preds(preds_in), target(target_in);
  std::vector<double> rows(static_cast<size_t>(preds.size() * kColumns));
  fill_rows(preds, target, words, substitution, rows.data());
  auto* sums = reinterpret_cast<double*>(address);
  for (size_t i = 0; i < rows.size(); ++i) {
    sums[i % kColumns] += rows[i];
  }
}

// Threads cannot raise, so a pair that is too long has no steps.
std::vector<std::optional<std::string>> steps_of_edits(const pybind11::sequence& preds_in,
                                                       const pybind11::sequence& target_in,
                                                       bool words) {
  const Texts preds(preds_in), target(target_in);
  if (preds.size() != target.size()) {
    throw std::invalid_argument("lengths differ");
  }
  std::vector<std::optional<std::string>> found(static_cast<size_t>(preds.size()));
  each_text(preds.size(), work_of(preds, target, words), [&](int64_t first, int64_t last) {
    Pair pair(1);
    for (int64_t i = first; i < last; ++i) {
      found[static_cast<size_t>(i)] = pair.steps(preds[i], target[i], words);
    }
  });
  return found;
}

}  // namespace

void bind_edits(pybind11::module_& module) {
  module.def("edit_rows", &edit_rows, "Edits and lengths of pairs of strings.");
  module.def("edit_sums", &edit_sums, "Adds up edits and lengths of pairs of strings.");
  module.def("edit_steps", &steps_of_edits, "The steps that edit each target.");
}

}  // namespace fastmetrics
