// Matching n-grams, and what BLEU adds up.
//
// An n-gram is the (n-1)-gram at the same place and one more symbol, so a pair of numbers names it:
// that of the shorter gram and the symbol. Order by order, the grams of the first sequence are
// numbered by a hash table of such pairs, exactly, without collisions of names, and counted; those
// of the other sequences are looked up. A gram that the first sequence lacks has no number, and
// neither has any longer one that begins there. The table holds one order at a time, which keeps it
// in the first cache for sentences; a new order is a new generation, so nothing is wiped.
//
// Each sample has its own row of results, so threads take ranges of samples.
#include "ngrams.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

namespace fastmetrics {
namespace {

constexpr uint32_t kNone = ~uint32_t{0};

}  // namespace

void GramCounter::open(size_t grams) {
  const size_t wanted = std::bit_ceil(std::max<size_t>(2 * grams, 64));
  if (wanted > slots_.size()) {
    slots_.assign(wanted, Slot{});
    generation_ = 0;
  }
  shift_ = static_cast<size_t>(std::countl_zero(static_cast<uint64_t>(wanted))) + 1;
  if (++generation_ == 0) {
    slots_.assign(slots_.size(), Slot{});
    generation_ = 1;
  }
  counts_.clear();
}

GramCounter::Slot& GramCounter::find(uint64_t key) {
  const size_t mask = (size_t{1} << (64 - shift_)) - 1;
  size_t at = (key ^ key >> 29) * 0x9e3779b97f4a7c15u >> shift_;
  while (slots_[at].generation == generation_ && slots_[at].key != key) {
    at = (at + 1) & mask;
  }
  return slots_[at];
}

// Numbers the grams of an order, and counts them.
void GramCounter::number(std::span<const uint32_t> symbols, size_t order) {
  const size_t grams = symbols.size() - order + 1;
  open(grams);
  for (size_t i = 0; i < grams; ++i) {
    const uint64_t key = uint64_t{numbers_[i]} << 32 | symbols[i + order - 1];
    Slot& slot = find(key);
    if (slot.generation != generation_) {
      slot = {key, generation_, static_cast<uint32_t>(counts_.size())};
      counts_.push_back({0, 0, 0});
    }
    numbers_[i] = slot.number;
    ++counts_[slot.number].first;
  }
}

// How many of the numbered grams another sequence has, whose shorter grams have these numbers.
int64_t GramCounter::look_up(std::span<const uint32_t> symbols, size_t order, uint32_t* numbers) {
  int64_t found = 0;
  for (size_t i = 0; i + order <= symbols.size(); ++i) {
    if (numbers[i] == kNone) {
      continue;
    }
    const Slot& slot = find(uint64_t{numbers[i]} << 32 | symbols[i + order - 1]);
    numbers[i] = slot.generation == generation_ ? slot.number : kNone;
    if (numbers[i] == kNone) {
      continue;
    }
    Count& count = counts_[numbers[i]];
    ++count.now;
    if (count.now <= count.first && count.now > count.most) {
      count.most = count.now;
      ++found;
    }
  }
  return found;
}

void GramCounter::match(const Sequences& sequences, size_t orders, bool pooled, int64_t* matches) {
  const size_t others = sequences.count() - 1;
  std::fill_n(matches, (pooled ? 1 : others) * orders, 0);
  numbers_.assign(sequences.symbols.size(), 0);
  const std::span<const uint32_t> first = sequences[0];
  for (size_t order = 1; order <= std::min(orders, first.size()); ++order) {
    number(first, order);
    uint32_t* numbers = numbers_.data() + first.size();
    for (size_t other = 0; other < others; ++other) {
      const std::span<const uint32_t> symbols = sequences[other + 1];
      matches[(pooled ? 0 : other * orders) + order - 1] += look_up(symbols, order, numbers);
      numbers += symbols.size();
      for (Count& count : counts_) {
        count.now = 0;
        count.most = pooled ? count.most : 0;
      }
    }
  }
}

namespace {

// The length of the reference that is closest to that of the prediction; of two, the first.
int64_t closest_size(const Sequences& sequences) {
  const int64_t size = sequences.size_of(0);
  int64_t closest = sequences.size_of(1);
  for (size_t i = 2; i < sequences.count(); ++i) {
    const int64_t other = sequences.size_of(i);
    if (std::abs(size - other) < std::abs(size - closest)) {
      closest = other;
    }
  }
  return closest;
}

void ngram_rows(uintptr_t address, const pybind11::sequence& preds,
                const pybind11::sequence& target, const std::vector<int64_t>& counts,
                int64_t orders, int tokenizer, bool lowercase, std::string_view classes) {
  const Samples samples(preds, target, counts);
  const TokenRules rules{static_cast<Tokenizer>(tokenizer), lowercase, classes};
  auto* rows = reinterpret_cast<double*>(address);
  each_text(samples.size(), samples.bytes() * (8 + orders), [&](int64_t first, int64_t last) {
    TokenReader reader(rules);
    Sequences sequences;
    GramCounter counter;
    std::vector<int64_t> matches(static_cast<size_t>(orders));
    for (int64_t i = first; i < last; ++i) {
      samples.read(i, reader, sequences);
      counter.match(sequences, static_cast<size_t>(orders), true, matches.data());
      double* row = rows + i * (2 * orders + 3);
      const int64_t size = sequences.size_of(0);
      for (int64_t n = 1; n <= orders; ++n) {
        row[n - 1] = static_cast<double>(matches[static_cast<size_t>(n) - 1]);
        row[orders + n - 1] = static_cast<double>(grams_in(size, n));
      }
      row[2 * orders] = static_cast<double>(size);
      row[2 * orders + 1] = static_cast<double>(closest_size(sequences));
      row[2 * orders + 2] = 1.0;
    }
  });
}

}  // namespace

void bind_ngrams(pybind11::module_& module) {
  module.def("ngram_rows", &ngram_rows, "Matching n-grams, n-grams and lengths of each sample.");
}

}  // namespace fastmetrics
