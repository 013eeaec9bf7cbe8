// panoptic_: segments of panoptic maps, matched by their intersection over union.
//
// A map holds a category and an instance for each pixel. Images are independent, and split over
// threads. Within one, pixels are read in blocks, and neighbours with the same four numbers are one
// run: a run, not a pixel, costs three look-ups in hash tables, of both segments and of the pair.
// What is left then are a few hundred areas to compare.
#include <algorithm>
#include <vector>

#include "op.h"
#include "parallel.h"

namespace fastmetrics {
namespace {

enum Column : int64_t { kIou = 0, kTp = 1, kFp = 2, kFn = 3 };
constexpr int64_t kColumns = 4;
constexpr int64_t kPixels = 1024;
constexpr int64_t kVoid = -1;

// Numbers pairs of integers in the order in which they come, by open addressing.
class PairNumbers {
 public:
  struct Entry {
    int64_t first;
    int64_t second;
    int64_t area;
  };

  void clear() {
    entries_.clear();
    slots_.assign(kLeastSlots, -1);
  }

  const std::vector<Entry>& entries() const { return entries_; }
  const Entry& operator[](int64_t number) const { return entries_[number]; }

  int64_t add(int64_t first, int64_t second, int64_t area) {
    size_t slot = home(first, second);
    for (; slots_[slot] >= 0; slot = (slot + 1) & (slots_.size() - 1)) {
      Entry& entry = entries_[slots_[slot]];
      if (entry.first == first && entry.second == second) {
        entry.area += area;
        return slots_[slot];
      }
    }
    const int64_t number = static_cast<int64_t>(entries_.size());
    entries_.push_back({first, second, area});
    slots_[slot] = number;
    if (2 * entries_.size() > slots_.size()) {
      grow();
    }
    return number;
  }

 private:
  static constexpr size_t kLeastSlots = 256;

  size_t home(int64_t first, int64_t second) const {
    uint64_t mixed = static_cast<uint64_t>(first) * 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ (mixed >> 32) ^ static_cast<uint64_t>(second)) * 0xD6E8FEB86659FD93u;
    return static_cast<size_t>(mixed ^ (mixed >> 32)) & (slots_.size() - 1);
  }

  void grow() {
    slots_.assign(2 * slots_.size(), -1);
    for (size_t number = 0; number < entries_.size(); ++number) {
      size_t slot = home(entries_[number].first, entries_[number].second);
      while (slots_[slot] >= 0) {
        slot = (slot + 1) & (slots_.size() - 1);
      }
      slots_[slot] = static_cast<int64_t>(number);
    }
  }

  std::vector<Entry> entries_;
  std::vector<int64_t> slots_;
};

// The row of the state of each category, kVoid for one that has none.
class Categories {
 public:
  Categories(const std::vector<int64_t>& things, const std::vector<int64_t>& stuffs)
      : things_(static_cast<int64_t>(things.size())) {
    for (const std::vector<int64_t>* ids : {&things, &stuffs}) {
      for (const int64_t id : *ids) {
        rows_.push_back({id, static_cast<int64_t>(rows_.size())});
      }
    }
    std::sort(rows_.begin(), rows_.end());
  }

  int64_t row_of(int64_t category) const {
    const auto found =
        std::lower_bound(rows_.begin(), rows_.end(), std::pair{category, int64_t{0}});
    return found != rows_.end() && found->first == category ? found->second : kVoid;
  }
  bool is_stuff(int64_t row) const { return row >= things_; }
  int64_t instance(int64_t row, int64_t given) const {
    return row >= 0 && row < things_ ? given : 0;
  }
  int64_t size() const { return static_cast<int64_t>(rows_.size()); }

 private:
  int64_t things_;
  std::vector<std::pair<int64_t, int64_t>> rows_;
};

// Writes the two numbers of `count` pixels.
using ReadPixels = void (*)(const void* data, int64_t offset, int64_t stride, int64_t pair_stride,
                            int64_t count, int64_t* categories, int64_t* instances);

template <class T>
void read_pixels(const void* data, int64_t offset, int64_t stride, int64_t pair_stride,
                 int64_t count, int64_t* categories, int64_t* instances) {
  const T* pixels = static_cast<const T*>(data) + offset;
  for (int64_t i = 0; i < count; ++i) {
    categories[i] = static_cast<int64_t>(pixels[i * stride]);
    instances[i] = static_cast<int64_t>(pixels[i * stride + pair_stride]);
  }
}

struct Map {
  explicit Map(const Tensor& tensor)
      : data(tensor.const_data_ptr()),
        pair_stride(tensor.stride(tensor.dim() - 1)),
        read(with_label_type(tensor.scalar_type(), [](auto label) -> ReadPixels {
          return &read_pixels<decltype(label)>;
        })) {}

  const void* data;
  int64_t pair_stride;
  ReadPixels read;
};

struct Pixel {
  int64_t pred_category;
  int64_t pred_instance;
  int64_t target_category;
  int64_t target_instance;

  bool operator==(const Pixel&) const = default;
};

// The segments of one image, and what pairs of them have in common.
class Image {
 public:
  explicit Image(const Categories& categories) : categories_(categories) {}

  void clear() {
    preds_.clear();
    target_.clear();
    pairs_.clear();
  }

  int64_t unknown() const { return unknown_; }

  void add(const Pixel& pixel, int64_t count) {
    const int64_t pred_row = categories_.row_of(pixel.pred_category);
    const int64_t target_row = categories_.row_of(pixel.target_category);
    unknown_ += pred_row == kVoid ? count : 0;
    const int64_t pred =
        preds_.add(pred_row, categories_.instance(pred_row, pixel.pred_instance), count);
    const int64_t target =
        target_.add(target_row, categories_.instance(target_row, pixel.target_instance), count);
    pairs_.add(pred, target, count);
  }

  // Adds the matches of the image to a row for each category.
  void match(bool modified, double* rows) {
    lose_void();
    for (const auto& [pred, target, common] : pairs_.entries()) {
      const int64_t row = target_[target].first;
      if (row == kVoid || preds_[pred].first != row) {
        continue;
      }
      const int64_t total = preds_[pred].area - pred_void_[pred] + target_[target].area -
                            target_void_[target] - common;
      const bool by_area = modified && categories_.is_stuff(row);
      const bool hit = !by_area && 2 * common > total;
      if (hit || by_area) {
        rows[row * kColumns + kIou] += static_cast<double>(common) / static_cast<double>(total);
      }
      if (hit) {
        rows[row * kColumns + kTp] += 1.0;
        pred_matched_[pred] = 1;
        target_matched_[target] = 1;
      }
    }
    count_missed(preds_, pred_void_, pred_matched_, modified, kFp, rows);
    count_missed(target_, target_void_, target_matched_, modified, kFn, rows);
    for (const auto& [row, instance, area] : target_.entries()) {
      if (modified && row != kVoid && categories_.is_stuff(row)) {
        rows[row * kColumns + kTp] += 1.0;
      }
    }
  }

 private:
  // How much of each segment is void in the other map.
  void lose_void() {
    pred_void_.assign(preds_.entries().size(), 0);
    target_void_.assign(target_.entries().size(), 0);
    pred_matched_.assign(preds_.entries().size(), 0);
    target_matched_.assign(target_.entries().size(), 0);
    for (const auto& [pred, target, common] : pairs_.entries()) {
      pred_void_[pred] += target_[target].first == kVoid ? common : 0;
      target_void_[target] += preds_[pred].first == kVoid ? common : 0;
    }
  }

  void count_missed(const PairNumbers& segments, const std::vector<int64_t>& lost,
                    const std::vector<uint8_t>& matched, bool modified, Column column,
                    double* rows) const {
    for (size_t i = 0; i < segments.entries().size(); ++i) {
      const auto& [row, instance, area] = segments.entries()[i];
      const bool counts = row != kVoid && !(modified && categories_.is_stuff(row));
      if (counts && matched[i] == 0 && 2 * lost[i] <= area) {
        rows[row * kColumns + column] += 1.0;
      }
    }
  }

  const Categories& categories_;
  PairNumbers preds_;
  PairNumbers target_;
  PairNumbers pairs_;
  std::vector<int64_t> pred_void_;
  std::vector<int64_t> target_void_;
  std::vector<uint8_t> pred_matched_;
  std::vector<uint8_t> target_matched_;
  int64_t unknown_ = 0;
};

// Two maps walked together.
class MapReader {
 public:
  MapReader(const Tensor& preds, const Tensor& target) : preds_(preds), target_(target) {
    for (int64_t axis = 0; axis + 1 < preds.dim(); ++axis) {
      geometry_.push(preds.size(axis), preds.stride(axis), target.stride(axis));
    }
  }

  void read(int64_t begin, int64_t end, Image& image) const {
    std::array<int64_t, kPixels> pred_categories;
    std::array<int64_t, kPixels> pred_instances;
    std::array<int64_t, kPixels> target_categories;
    std::array<int64_t, kPixels> target_instances;
    Pixel current{};
    int64_t length = 0;
    for (int64_t first = begin; first < end; first += kPixels) {
      const int64_t last = std::min(end, first + kPixels);
      int64_t done = 0;
      geometry_.for_runs(first, last, [&](int64_t count, int64_t in_preds, int64_t in_target) {
        preds_.read(preds_.data, in_preds, geometry_.inner_a(), preds_.pair_stride, count,
                    &pred_categories[done], &pred_instances[done]);
        target_.read(target_.data, in_target, geometry_.inner_b(), target_.pair_stride, count,
                     &target_categories[done], &target_instances[done]);
        done += count;
      });
      for (int64_t i = 0; i < done; ++i) {
        const Pixel pixel{pred_categories[i], pred_instances[i], target_categories[i],
                          target_instances[i]};
        if (length > 0 && pixel == current) {
          ++length;
          continue;
        }
        if (length > 0) {
          image.add(current, length);
        }
        current = pixel;
        length = 1;
      }
    }
    if (length > 0) {
      image.add(current, length);
    }
  }

 private:
  Map preds_;
  Map target_;
  Geometry geometry_;
};

void panoptic_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                  std::vector<int64_t> things, std::vector<int64_t> stuffs, bool modified,
                  bool allow_unknown) {
  const int64_t axes = preds.dim();
  require(axes >= 3 && target.dim() == axes && preds.size(axes - 1) == 2,
          "`preds` and `target` must be [N, ..., 2].");
  for (int64_t axis = 0; axis < axes; ++axis) {
    require(preds.size(axis) == target.size(axis), "`preds` and `target` must fit.");
  }
  const Categories categories(things, stuffs);
  require(state.scalar_type() == ScalarType::Double && state.dim() == 2 &&
              state.size(0) == categories.size() && state.size(1) == kColumns,
          "the state of panoptic_ must be float64 [K, 4].");
  events_data(events);
  if (preds.numel() == 0) {
    return;
  }
  const MapReader reader(preds, target);
  const int64_t images = preds.size(0);
  const int64_t pixels = preds.numel() / images / 2;
  const int64_t bytes =
      2 * pixels * static_cast<int64_t>(preds.element_size() + target.element_size());
  const Partition partition(images, bytes, 0, false, 1);
  Scratch<double> scratch(partition.parts, categories.size() * kColumns);
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    Image image(categories);
    for (int64_t i = begin; i < end; ++i) {
      image.clear();
      reader.read(i * pixels, (i + 1) * pixels, image);
      image.match(modified, scratch.sums(part));
    }
    scratch.notes(part).bad = image.unknown();
  });
  require(scratch.combine().bad == 0 || allow_unknown, "`preds` has an unknown category.");
  double* rows = state_data<double>(state);
  for (int64_t i = 0; i < categories.size() * kColumns; ++i) {
    rows[i] += scratch.sums(0)[i];
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<panoptic_cpu>(library, "panoptic_");
}

}  // namespace fastmetrics
