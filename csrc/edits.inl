// Distances of sequences above 64 symbols, for one instruction set; see edits.cpp.

// Lanes of a vector work off four blocks at a time, each some columns behind the block above it:
// two, so that what a block hands down is not waited for.
typedef uint64_t Lanes __attribute__((vector_size(32)));
constexpr int64_t kLanes = 4;
constexpr int64_t kBehind = 2;

// A column of 64 rows, or one in each lane: where the distance grows, or falls, from row to row.
template <class W>
struct Distance {
  W up = ~W{};
  W down = W{};

  // Takes the step to the next column and returns what it does to the bit `last`. `above` is what
  // it does to the row above these.
  FM_INLINE W step(W matches, W above, W last) {
    const W above_down = above >> 1;
    const W vertical = matches | down;
    matches |= above_down;
    const W level = (((matches & up) + up) ^ up) | matches;
    W rises = down | ~(level | up);
    W falls = up & level;
    const W out = ((rises >> last) & 1) | (((falls >> last) & 1) << 1);
    rises = (rises << 1) | (above & 1);
    falls = (falls << 1) | above_down;
    up = falls | ~(vertical | rises);
    down = rises & vertical;
    return out;
  }
};

// The same for common subsequences: zeros are where their length grows; a step adds, and carries.
template <class W>
struct Common {
  W row = ~W{};

  FM_INLINE W step(W marks, W carry, W) {
    const W matches = row & marks;
    const W sum = row + matches + carry;
    const W out = ((row & matches) | ((row | matches) & ~sum)) >> 63;
    row = sum | (row - matches);
    return out;
  }
};

// Works off `blocks.size()` blocks, at most four, over columns [first, last); `steps` holds what
// each column does to the row above, and then what it does to the last row. Corners are done by one
// block after the other, so that all lanes of the loop between are at work.
template <template <class> class State, class T>
void sweep(std::array<State<uint64_t>, kLanes>& blocks, int64_t count, const uint64_t* masks,
           const T* symbols, int64_t first, int64_t last, uint64_t bottom, uint8_t* steps) {
  const auto marks = [&](int64_t j, int64_t lane) {
    return masks[static_cast<size_t>(symbols[j]) * kLanes + static_cast<size_t>(lane)];
  };
  const auto alone = [&](int64_t lane, int64_t begin, int64_t end) {
    State<uint64_t> block = blocks[static_cast<size_t>(lane)];
    const uint64_t bit = lane == count - 1 ? bottom : 63;
    for (int64_t j = begin; j < end; ++j) {
      steps[j] = static_cast<uint8_t>(block.step(marks(j, lane), steps[j], bit));
    }
    blocks[static_cast<size_t>(lane)] = block;
  };
  if (count < 2 || last - first < 2 * kBehind * kLanes) {
    for (int64_t lane = 0; lane < count; ++lane) {
      alone(lane, first, last);
    }
    return;
  }
  const int64_t behind = kBehind * (count - 1);
  for (int64_t lane = 0; lane < count - 1; ++lane) {
    alone(lane, first, first + behind - kBehind * lane);
  }
  State<Lanes> state;
  static_assert(sizeof(State<uint64_t>) * kLanes == sizeof(state));
  auto* parts = reinterpret_cast<uint64_t*>(&state);
  constexpr size_t kParts = sizeof(State<uint64_t>) / sizeof(uint64_t);
  const auto exchange = [&](bool out) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      auto* block = reinterpret_cast<uint64_t*>(&blocks[lane]);
      for (size_t part = 0; part < kParts; ++part) {
        uint64_t& there = parts[part * kLanes + lane];
        (out ? block[part] : there) = out ? there : block[part];
      }
    }
  };
  exchange(false);
  // What the blocks above do to the columns that each lane takes next, and to those after them.
  Lanes above{}, later{}, bits{63, 63, 63, 63};
  for (int64_t lane = 1; lane < count; ++lane) {
    above[lane] = steps[first + behind - kBehind * lane];
    later[lane] = steps[first + behind - kBehind * lane + 1];
  }
  bits[count - 1] = bottom;
  const int64_t end = last - behind;
  const auto run = [&]<int64_t kCount>() {
    constexpr int64_t kAhead = kBehind * (kCount - 1);
    State<Lanes> held = state;
    Lanes next = above, after = later;
    for (int64_t j = first; j < end; ++j) {
      Lanes matches{marks(j + kAhead, 0), marks(j + kAhead - kBehind, 1)};
      if constexpr (kCount > 2) {
        matches[2] = marks(j + kAhead - 2 * kBehind, 2);
      }
      if constexpr (kCount > 3) {
        matches[3] = marks(j, 3);
      }
      next[0] = steps[j + kAhead];
      const Lanes out = held.step(matches, next, bits);
      steps[j] = static_cast<uint8_t>(out[kCount - 1]);
      next = after;
      after = __builtin_shufflevector(out, out, 0, 0, 1, 2);
    }
    state = held;
    above = next;
    later = after;
  };
  switch (count) {
    case 2:
      run.template operator()<2>();
      break;
    case 3:
      run.template operator()<3>();
      break;
    default:
      run.template operator()<4>();
  }
  exchange(true);
  for (int64_t lane = 1; lane < count; ++lane) {
    const int64_t begin = last - kBehind * lane;
    steps[begin] = static_cast<uint8_t>(above[lane]);
    steps[begin + 1] = static_cast<uint8_t>(later[lane]);
    alone(lane, begin, last);
  }
}

// Sets where symbols stand in the blocks from `top` on, and clears it again.
template <class T>
class BlockMarks {
 public:
  BlockMarks(uint64_t* masks, std::span<const T> rows) : masks_(masks), rows_(rows) {
    for (size_t i = 0; i < rows_.size(); ++i) {
      masks_[rows_[i] * kLanes + i / 64] |= uint64_t{1} << i % 64;
    }
  }
  BlockMarks(const BlockMarks&) = delete;
  BlockMarks& operator=(const BlockMarks&) = delete;
  ~BlockMarks() {
    for (size_t i = 0; i < rows_.size(); ++i) {
      masks_[rows_[i] * kLanes + i / 64] = 0;
    }
  }

 private:
  uint64_t* masks_;
  std::span<const T> rows_;
};

// The distance if it is at most `limit`, else some number above it. Cells further than `limit` from
// the diagonal are taken for more than they may be, which no path of that length notices.
template <class T>
int64_t distance_within(std::span<const T> a, std::span<const T> b, int64_t limit, uint64_t* masks,
                        uint8_t* steps) {
  const auto rows = static_cast<int64_t>(a.size()), columns = static_cast<int64_t>(b.size());
  std::fill(steps, steps + columns, uint8_t{1});
  int64_t value = 0, from = 0;  // the distance at the top of some blocks, before their first column
  for (int64_t top = 0; top < rows; top += kLanes * 64) {
    const int64_t height = std::min(kLanes * 64, rows - top);
    const int64_t first = std::max<int64_t>(0, top - limit);
    const int64_t last = std::min(columns, top + height + limit);
    value += sum_of_steps(steps + from, first - from) + height;
    from = first;
    const auto block = a.subspan(static_cast<size_t>(top), static_cast<size_t>(height));
    const BlockMarks<T> marks(masks, block);
    std::array<Distance<uint64_t>, kLanes> blocks;
    sweep(blocks, (height + 63) / 64, masks, b.data(), first, last,
          static_cast<uint64_t>((height - 1) % 64), steps);
  }
  return value + sum_of_steps(steps + from, columns - from);
}

template <class T>
int64_t common_length(std::span<const T> a, std::span<const T> b, uint64_t* masks,
                      uint8_t* carries) {
  std::fill(carries, carries + b.size(), uint8_t{0});
  int64_t length = 0;
  for (size_t top = 0; top < a.size(); top += kLanes * 64) {
    const auto block = a.subspan(top, std::min<size_t>(kLanes * 64, a.size() - top));
    const BlockMarks<T> marks(masks, block);
    std::array<Common<uint64_t>, kLanes> blocks;
    const auto count = static_cast<int64_t>(block.size() + 63) / 64;
    sweep(blocks, count, masks, b.data(), 0, static_cast<int64_t>(b.size()), 63, carries);
    for (const Common<uint64_t>& each : blocks) {
      length += std::popcount(~each.row);  // rows below the last have no marks, and stay ones
    }
  }
  return length;
}
