// Translation edit rate: edits of words where moving a phrase counts as one.
//
// The search is that of Tercom, limits and order of trials included, since its values are what the
// rate means: again and again the move of up to nine words that saves most edits is made. A trial
// asks for the distance after a move. Its table differs from that of the words as they stand only
// from the first word that moved on, so rows above are taken over. Rows are worked out near the
// diagonal only (the beam), which is part of the definition. References come one behind the other;
// `firsts` says where those of each sample begin.
#include <pybind11/stl.h>

#include <cmath>
#include <limits>
#include <span>
#include <tuple>

#include "strings.h"

namespace fastmetrics {
namespace {

constexpr int64_t kBeam = 25;
constexpr int64_t kLongestMove = 10;  // in words, exclusive
constexpr int64_t kFarthestMove = 50;
constexpr int64_t kTrials = 1000;
constexpr int64_t kColumns = 3;  // fastmetrics/ops/shifts.py names them

using Words = std::vector<uint32_t>;
using WordSpan = std::span<const uint32_t>;

enum class Edit : uint8_t { none, keep, substitute, remove, insert };

// The distances from the beginnings of `moved` words, a row each, to those of fixed ones.
class Table {
 public:
  Table(WordSpan fixed, int64_t rows)
      : fixed_(fixed),
        rows_(rows),
        columns_(static_cast<int64_t>(fixed.size())),
        ratio_(rows > 0 ? static_cast<double>(columns_) / static_cast<double>(rows) : 1.0),
        beam_(ratio_ / 2 > kBeam ? static_cast<int64_t>(std::ceil(ratio_ / 2 + kBeam)) : kBeam),
        costs_(static_cast<size_t>((rows + 1) * (columns_ + 1)), kFar),
        edits_(costs_.size(), Edit::none),
        two_{std::vector<int32_t>(static_cast<size_t>(columns_ + 1)),
             std::vector<int32_t>(static_cast<size_t>(columns_ + 1))} {
    for (int64_t j = 0; j <= columns_; ++j) {
      costs_[static_cast<size_t>(j)] = static_cast<int32_t>(j);
      edits_[static_cast<size_t>(j)] = Edit::insert;
    }
  }

  // Works out rows and edits anew, from the row of the first word that is another one than before.
  int64_t fill(WordSpan moved, int64_t from) {
    for (int64_t i = from + 1; i <= rows_; ++i) {
      const size_t row = static_cast<size_t>(i * (columns_ + 1));
      int32_t* costs = costs_.data() + row;
      std::fill(costs, costs + columns_ + 1, kFar);
      std::fill_n(edits_.begin() + static_cast<std::ptrdiff_t>(row), columns_ + 1, Edit::none);
      fill_row<true>(costs - columns_ - 1, costs, edits_.data() + row, moved, i);
    }
    return costs_.back();
  }

  // The distance of words of which the first `from` are those of the table.
  int64_t after(WordSpan moved, int64_t from) {
    const int32_t* above = costs_.data() + from * (columns_ + 1);
    for (int64_t i = from + 1; i <= rows_; ++i) {
      std::vector<int32_t>& costs = two_[i & 1];
      std::fill(costs.begin(), costs.end(), kFar);
      fill_row<false>(above, costs.data(), nullptr, moved, i);
      above = costs.data();
    }
    return above[columns_];
  }

  // Where words stand apart: for each fixed word the last moved one beside or before it, and
  // whether words of either side are edited.
  void align(std::vector<int64_t>& beside, std::vector<uint8_t>& fixed_wrong,
             std::vector<uint8_t>& moved_wrong) const {
    beside.assign(static_cast<size_t>(columns_), -1);
    fixed_wrong.assign(static_cast<size_t>(columns_), 1);
    moved_wrong.assign(static_cast<size_t>(rows_), 1);
    int64_t i = rows_, j = columns_;
    while (i > 0 || j > 0) {
      const Edit edit = edits_[static_cast<size_t>(i * (columns_ + 1) + j)];
      if (edit == Edit::remove) {
        --i;
        continue;
      }
      --j;
      if (edit != Edit::insert) {
        --i;
        beside[static_cast<size_t>(j)] = i;
        fixed_wrong[static_cast<size_t>(j)] = moved_wrong[static_cast<size_t>(i)] =
            edit != Edit::keep;
      } else {
        beside[static_cast<size_t>(j)] = i - 1;
      }
    }
  }

 private:
  static constexpr int32_t kFar = std::numeric_limits<int32_t>::max() / 2;

  template <bool kTrace>
  void fill_row(const int32_t* above, int32_t* costs, Edit* edits, WordSpan moved, int64_t i) {
    const auto diagonal = static_cast<int64_t>(static_cast<double>(i) * ratio_);
    const int64_t first = std::max<int64_t>(0, diagonal - beam_);
    const int64_t last = i == rows_ ? columns_ + 1 : std::min(columns_ + 1, diagonal + beam_);
    const uint32_t word = moved[static_cast<size_t>(i - 1)];
    for (int64_t j = first; j < last; ++j) {
      if (j == 0) {
        costs[0] = above[0] + 1;
        if (kTrace) {
          edits[0] = Edit::remove;
        }
        continue;
      }
      const bool equal = word == fixed_[static_cast<size_t>(j - 1)];
      int32_t best = above[j - 1] + !equal;
      Edit edit = equal ? Edit::keep : Edit::substitute;
      if (best > above[j] + 1) {
        best = above[j] + 1;
        edit = Edit::remove;
      }
      if (best > costs[j - 1] + 1) {
        best = costs[j - 1] + 1;
        edit = Edit::insert;
      }
      costs[j] = std::min(best, kFar);
      if (kTrace) {
        edits[j] = best < kFar ? edit : Edit::none;
      }
    }
  }

  WordSpan fixed_;
  int64_t rows_, columns_;
  double ratio_;
  int64_t beam_;
  std::vector<int32_t> costs_;
  std::vector<Edit> edits_;
  std::vector<int32_t> two_[2];
};

// `words` with `length` of them from `start` on moved to where `to` is now.
void move(const Words& words, int64_t start, int64_t length, int64_t to, Words& moved) {
  const auto at = [&](int64_t i) { return words.begin() + i; };
  moved.clear();
  const auto add = [&](int64_t first, int64_t last) {
    if (first < last) {
      moved.insert(moved.end(), at(first), at(last));
    }
  };
  const auto size = static_cast<int64_t>(words.size());
  if (to < start) {
    add(0, to);
    add(start, start + length);
    add(to, start);
    add(start + length, size);
  } else if (to > start + length) {
    add(0, start);
    add(start + length, to);
    add(start, start + length);
    add(to, size);
  } else {
    add(0, start);
    add(start + length, std::min(size, length + to));
    add(start, start + length);
    add(std::min(size, length + to), size);
  }
}

struct Move {
  int64_t saved = std::numeric_limits<int64_t>::min();
  int64_t length = 0, start = 0, to = 0;

  bool better_than(const Move& other) const {
    return std::tie(saved, length, other.start, other.to) >
           std::tie(other.saved, other.length, start, to);
  }
};

// The moves and edits that lead from some words to fixed ones.
class Search {
 public:
  int64_t edits(Words moved, const Words& fixed) {
    const auto rows = static_cast<int64_t>(moved.size());
    if (fixed.empty()) {
      return rows;
    }
    Table table(fixed, rows);
    int64_t distance = table.fill(moved, 0), moves = 0;
    trials_ = 0;
    for (;;) {
      const Move best = best_move(table, moved, fixed, distance);
      if (trials_ >= kTrials || best.saved <= 0) {
        return distance + moves;
      }
      ++moves;
      move(moved, best.start, best.length, best.to, trial_);
      moved.swap(trial_);
      distance = table.fill(moved, std::min(best.start, best.to));
    }
  }

 private:
  Move best_move(Table& table, const Words& moved, const Words& fixed, int64_t distance) {
    table.align(beside_, fixed_wrong_, moved_wrong_);
    const auto rows = static_cast<int64_t>(moved.size());
    const auto columns = static_cast<int64_t>(fixed.size());
    Move best;
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t last = std::min(columns, i + kFarthestMove + 1);
      for (int64_t j = std::max<int64_t>(0, i - kFarthestMove); j < last; ++j) {
        const int64_t limit = std::min({kLongestMove - 1, rows - i, columns - j});
        bool wrong_here = false, wrong_there = false;
        for (int64_t length = 1; length <= limit; ++length) {
          const auto from = static_cast<size_t>(i + length - 1);
          const auto to = static_cast<size_t>(j + length - 1);
          if (moved[from] != fixed[to]) {
            break;
          }
          wrong_here |= moved_wrong_[from] != 0;
          wrong_there |= fixed_wrong_[to] != 0;
          const int64_t at = beside_[static_cast<size_t>(j)];
          if (!wrong_here || !wrong_there || (i <= at && at < i + length)) {
            continue;
          }
          try_places(table, moved, distance, {.length = length, .start = i, .to = j}, best);
          if (trials_ >= kTrials) {
            return best;
          }
        }
      }
    }
    return best;
  }

  // Tries all places of a phrase that stands from `found.to` on among the fixed words.
  void try_places(Table& table, const Words& moved, int64_t distance, Move found, Move& best) {
    const int64_t there = found.to;
    int64_t before = -1;
    for (int64_t offset = -1; offset < found.length; ++offset) {
      const int64_t place = there + offset;
      found.to = place < 0 ? 0 : beside_[static_cast<size_t>(place)] + 1;
      if (found.to == before) {
        continue;
      }
      before = found.to;
      move(moved, found.start, found.length, found.to, trial_);
      found.saved = distance - table.after(trial_, std::min(found.start, found.to));
      ++trials_;
      if (found.better_than(best)) {
        best = found;
      }
    }
  }

  int64_t trials_ = 0;
  Words trial_;
  std::vector<int64_t> beside_;
  std::vector<uint8_t> fixed_wrong_, moved_wrong_;
};

class Numbering {
 public:
  void clear() { vocabulary_.clear(); }
  void number(const Text& text, Words& numbers) {
    words_.clear();
    split_words(text, words_);
    numbers.clear();
    for (const Word& word : words_) {
      numbers.push_back(vocabulary_.number(word));
    }
  }

 private:
  Vocabulary vocabulary_;
  std::vector<Word> words_;
};

void shift_rows(uintptr_t address, const pybind11::sequence& preds_in,
                const pybind11::sequence& references_in, const std::vector<int64_t>& firsts) {
  const Texts preds(preds_in), references(references_in);
  if (static_cast<int64_t>(firsts.size()) != preds.size() + 1 ||
      firsts.back() != references.size()) {
    throw std::invalid_argument("references do not belong to predictions");
  }
  auto* rows = reinterpret_cast<double*>(address);
  const int64_t work = 100 * (preds.bytes() + references.bytes());
  each_text(preds.size(), work, [&](int64_t begin, int64_t end) {
    Numbering numbering;
    Search search;
    Words prediction, reference;
    for (int64_t i = begin; i < end; ++i) {
      numbering.clear();
      numbering.number(preds[i], prediction);
      int64_t fewest = std::numeric_limits<int64_t>::max(), length = 0;
      for (int64_t r = firsts[static_cast<size_t>(i)]; r < firsts[static_cast<size_t>(i + 1)];
           ++r) {
        numbering.number(references[r], reference);
        length += static_cast<int64_t>(reference.size());
        fewest = std::min(fewest, search.edits(reference, prediction));
      }
      const int64_t count = firsts[static_cast<size_t>(i + 1)] - firsts[static_cast<size_t>(i)];
      double* row = rows + i * kColumns;
      row[0] = static_cast<double>(fewest);
      row[1] = static_cast<double>(length) / static_cast<double>(count);
      row[2] = 1.0;
    }
  });
}

}  // namespace

void bind_shifts(pybind11::module_& module) {
  module.def("shift_rows", &shift_rows, "Edits with shifts, and lengths of references.");
}

}  // namespace fastmetrics
