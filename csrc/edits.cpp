// Edit distances of pairs of strings, by code points or by words.
//
// Symbols are small numbers: code points as they are, words as numbered by a vocabulary of the two
// strings. The table of distances between prefixes is never made: neighbours in it differ by -1, 0
// or 1, so 64 rows of a column are two words of bits, and a step to the next column is some twenty
// operations on words (Myers 1999, in the form of Hyyrö 2003). Blocks of 64 rows are worked off one
// after the other, each over all columns, so that the masks of one block (where each symbol stands
// in it) are all that is looked up, whatever the number of symbols; what a block hands to the next
// is one step for each column. A distance of at most k needs only cells within k of the diagonal
// (Ukkonen 1985): k doubles until the answer is within. Ends that both have in common are cut off
// first.
//
// Each pair has its own row of results, so threads take ranges of pairs.
#include "edits.h"

#include <pybind11/stl.h>

#include <bit>

#include "strings.h"

namespace fastmetrics {
namespace {

constexpr int64_t kRows = 64;
constexpr uint8_t kUp = 1;    // a step of +1
constexpr uint8_t kDown = 2;  // a step of -1
constexpr size_t kCodePoints = 0x110000;

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

// One column of up to 64 rows: where the distance grows, or falls, from row to row.
struct Column {
  uint64_t up = ~uint64_t{0};
  uint64_t down = 0;

  // Takes the step to the next column; `above` is what the row above these does. `last` is a bit.
  uint8_t step(uint64_t matches, uint8_t above, int last) {
    const uint64_t above_down = above >> 1;
    const uint64_t vertical = matches | down;
    matches |= above_down;
    const uint64_t level = (((matches & up) + up) ^ up) | matches;
    uint64_t rises = down | ~(level | up);
    uint64_t falls = up & level;
    const auto out = static_cast<uint8_t>((rises >> last & 1) | (falls >> last & 1) << 1);
    rises = rises << 1 | (above & kUp);
    falls = falls << 1 | above_down;
    up = falls | ~(vertical | rises);
    down = rises & vertical;
    return out;
  }
};

int64_t sum_of(const uint8_t* steps, int64_t count) {
  int64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum += (steps[i] & kUp) - (steps[i] >> 1);
  }
  return sum;
}

// The distance if it is at most `limit`, else some number above it. Cells further than `limit` from
// the diagonal are taken for more than they may be, which no path of that length notices.
template <class T>
int64_t within(std::span<const T> a, std::span<const T> b, int64_t limit, uint64_t* masks,
               uint8_t* steps) {
  const auto rows = static_cast<int64_t>(a.size()), columns = static_cast<int64_t>(b.size());
  std::fill(steps, steps + columns, kUp);
  int64_t value = 0, from = 0;  // the distance at the top of a block, before its first column
  for (int64_t top = 0; top < rows; top += kRows) {
    const int64_t height = std::min(kRows, rows - top);
    const int64_t first = std::max<int64_t>(0, top - limit);
    const int64_t last = std::min(columns, top + height + limit);
    value += sum_of(steps + from, first - from) + height;
    from = first;
    const Marks<T> marks(masks, a.subspan(static_cast<size_t>(top), static_cast<size_t>(height)));
    Column column;
    const int bottom = static_cast<int>(height - 1);
    for (int64_t j = first; j < last; ++j) {
      steps[j] = column.step(marks[b[static_cast<size_t>(j)]], steps[j], bottom);
    }
  }
  return value + sum_of(steps + from, columns - from);
}

}  // namespace

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
  uint64_t* masks = scratch.masks(symbols);
  if (static_cast<int64_t>(a.size()) <= kRows) {
    const Marks<T> marks(masks, a);
    Column column;
    const int bottom = static_cast<int>(a.size()) - 1;
    auto value = static_cast<int64_t>(a.size());
    for (const T symbol : b) {
      const uint8_t out = column.step(marks[symbol], kUp, bottom);
      value += (out & kUp) - (out >> 1);
    }
    return value;
  }
  scratch.steps.resize(b.size());
  const int64_t apart = longer - static_cast<int64_t>(a.size());
  for (int64_t limit = std::max<int64_t>(2 * kRows, 2 * apart);; limit *= 2) {
    const int64_t value = within(a, b, limit, masks, scratch.steps.data());
    if (value <= limit || limit >= longer) {
      return value;
    }
  }
}

template <class T>
int64_t longest_common(std::span<const T> a, std::span<const T> b, size_t symbols,
                       EditScratch& scratch) {
  const size_t before = a.size();
  cut_common_ends(a, b);
  auto length = static_cast<int64_t>(before - a.size());
  if (a.size() > b.size()) {
    std::swap(a, b);
  }
  if (a.empty()) {
    return length;
  }
  // Zeros of `row` are where the length grows from row to row; a block carries into the next.
  std::vector<uint8_t>& carries = scratch.steps;
  carries.assign(b.size(), 0);
  uint64_t* masks = scratch.masks(symbols);
  for (size_t top = 0; top < a.size(); top += kRows) {
    const auto block = a.subspan(top, std::min<size_t>(kRows, a.size() - top));
    const Marks<T> marks(masks, block);
    uint64_t row = ~uint64_t{0};
    for (size_t j = 0; j < b.size(); ++j) {
      const uint64_t matches = row & marks[b[j]];
      uint64_t sum = row + matches;
      uint8_t carry = sum < row;
      sum += carries[j];
      carry |= sum < carries[j];
      carries[j] = carry;
      row = sum | (row - matches);
    }
    const uint64_t used = block.size() == 64 ? ~uint64_t{0} : (uint64_t{1} << block.size()) - 1;
    length += std::popcount(~row & used);
  }
  return length;
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
// packages for speech recognition report. Keeps two bits for each cell of the table.
template <class T>
std::string edit_steps(std::span<const T> target, std::span<const T> preds, size_t symbols,
                       EditScratch& scratch) {
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
    throw std::length_error("too long");
  }
  std::vector<Column> table(blocks * columns);
  std::vector<uint8_t> above(columns, kUp);
  uint64_t* masks = scratch.masks(symbols);
  for (size_t block = 0; block < blocks; ++block) {
    const size_t top = block * kRows, height = std::min<size_t>(kRows, rows - top);
    const Marks<T> marks(masks, target.subspan(top, height));
    Column column;
    for (size_t j = 0; j < columns; ++j) {
      above[j] = column.step(marks[preds[j]], above[j], static_cast<int>(height - 1));
      table[block * columns + j] = column;
    }
  }
  const auto bit = [&](uint64_t Column::* part, size_t i, size_t j) {
    return table[(i - 1) / kRows * columns + j - 1].*part >> (i - 1) % kRows & 1;
  };
  std::string steps(back, '=');
  size_t i = rows, j = columns;
  while (i > 0 && j > 0) {
    if (bit(&Column::up, i, j)) {
      --i;
      steps += 'D';
    } else if (j > 1 && bit(&Column::down, i, j - 1)) {
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

class Pair {
 public:
  explicit Pair(int64_t substitution) : substitution_(substitution) {}

  void characters(const Text& preds, const Text& target, double* row) {
    int64_t edits;
    if (preds.width == 1 && target.width == 1) {
      edits = distance(points(preds), points(target), 256, substitution_, scratch_);
    } else {
      const auto left = widened(preds, left_), right = widened(target, right_);
      edits = distance(left, right, kCodePoints, substitution_, scratch_);
    }
    write(row, edits, target.size, preds.size);
  }

  std::string steps(const Text& preds, const Text& target, bool words) {
    vocabulary_.clear();
    const auto left = words ? numbered(preds, left_) : widened(preds, left_);
    const auto right = words ? numbered(target, right_) : widened(target, right_);
    return edit_steps(right, left, words ? vocabulary_.size() : kCodePoints, scratch_);
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

  static std::span<const uint32_t> widened(const Text& text, std::vector<uint32_t>& wide) {
    with_points(text, [&](const auto* points) { wide.assign(points, points + text.size); });
    return wide;
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
  std::vector<Word> words_;
  std::vector<uint32_t> left_, right_;
};

// Nanoseconds of one thread, roughly: a look at each code point, and the steps of the blocks.
int64_t work_of(const Texts& preds, const Texts& target, bool words) {
  int64_t work = 0;
  for (int64_t i = 0; i < preds.size(); ++i) {
    const int64_t m = preds[i].size, n = target[i].size;
    const int64_t cells = words ? m * n / 32 : m * n;
    work += 50 + 2 * (m + n) + cells / 16;
  }
  return work;
}

void edit_rows(uintptr_t address, const pybind11::sequence& preds_in,
               const pybind11::sequence& target_in, bool words, int64_t substitution) {
  const Texts preds(preds_in), target(target_in);
  if (preds.size() != target.size()) {
    throw std::invalid_argument("lengths differ");
  }
  auto* rows = reinterpret_cast<double*>(address);
  each_text(preds.size(), work_of(preds, target, words), [&](int64_t first, int64_t last) {
    Pair pair(substitution);
    for (int64_t i = first; i < last; ++i) {
      double* row = rows + i * kColumns;
      words ? pair.words(preds[i], target[i], row) : pair.characters(preds[i], target[i], row);
    }
  });
}

std::vector<std::string> steps_of_edits(const pybind11::sequence& preds_in,
                                        const pybind11::sequence& target_in, bool words) {
  const Texts preds(preds_in), target(target_in);
  if (preds.size() != target.size()) {
    throw std::invalid_argument("lengths differ");
  }
  std::vector<std::string> found(static_cast<size_t>(preds.size()));
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
  module.def("edit_steps", &steps_of_edits, "The steps that edit each target.");
}

}  // namespace fastmetrics
