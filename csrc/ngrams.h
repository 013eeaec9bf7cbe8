// n-grams of one sequence of symbols, and how many of them others have, too.
#pragma once

#include <cstdint>
#include <vector>

#include "tokens.h"

namespace fastmetrics {

// How many n-grams of a sequence there are.
inline int64_t grams_in(int64_t size, int64_t order) { return size < order ? 0 : size - order + 1; }

class GramCounter {
 public:
  // Of the n-grams of the first sequence, for n from 1 to `orders`: how many each of the others
  // has, too, an n-gram as often as it is in both. Row `orders` of `matches` for each other
  // sequence; `pooled`: one row, of the sequence that has each n-gram as often as any of the
  // others.
  void match(const Sequences& sequences, size_t orders, bool pooled, int64_t* matches);

 private:
  // n-grams of one order; a number is free in other generations than the present one.
  struct Slot {
    uint64_t key;
    uint32_t generation = 0;
    uint32_t number;
  };
  struct Count {
    uint32_t first;  // in the first sequence
    uint32_t now;    // in the sequence that is looked at
    uint32_t most;   // in any of those so far
  };

  void open(size_t grams);
  Slot& find(uint64_t key);
  void number(std::span<const uint32_t> symbols, size_t order);
  int64_t look_up(std::span<const uint32_t> symbols, size_t order, uint32_t* numbers);

  std::vector<Slot> slots_;
  size_t shift_ = 64;
  uint32_t generation_ = 0;
  std::vector<Count> counts_;
  std::vector<uint32_t> numbers_;  // of the gram of the order before at each position
};

}  // namespace fastmetrics
