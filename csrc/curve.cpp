// curve_areas_ and curve_points_: exact curves from all scores that a metric has kept.
//
// Scores become images, unsigned integers of the same order. The leading bits of all images are
// counted, and adjacent bins joined into buckets of about the same size. A second pass scatters the
// images, with the label as lowest bit, into their buckets; each bucket is then sorted by itself,
// in the bits that its range leaves open, and scanned. Images of 16 bits are counted in full
// instead.
//
// How buckets are cut depends on the counts alone, so neither the order of the samples nor the
// number of threads shows in the bits of a sum.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "op.h"
#include "simd.h"
#include "sorting.h"
#include "stable.h"

namespace fastmetrics {

constexpr int64_t kCurveBlock = 512;  // scores read at a time
constexpr int64_t kFewKeys = 24;      // sorted by insertion

// Twice the number of pairs in the right order, and the sum of the precisions of positives.
struct BucketAreas {
  uint64_t twice_area = 0;
  double precision = 0.0;
};

template <class T>
struct ScoreKernelsOf {
  void (*count_cells)(const T* scores, const uint8_t* labels, int64_t count, int shift,
                      uint32_t nowhere, uint32_t* counts);
  void (*scatter_keys)(const T* scores, const uint8_t* labels, int64_t count, int shift,
                       uint32_t nowhere, const uint16_t* bucket_of, ImageOf<T>** ends);
};

template <class Key>
struct KeyKernelsOf {
  Key (*rebase)(Key* keys, int64_t count, Key base);
  void (*count)(const Key* keys, int64_t count, uint32_t* counts);
  Key* (*sort)(Key* keys, Key* spare, int64_t count, Key varying);
  BucketAreas (*scan)(const Key* keys, int64_t count, int64_t pos_above, int64_t neg_above);
};

struct CountKernels {
  BucketAreas (*scan_bucket)(const uint32_t* counts, int64_t images, int64_t pos_above,
                             int64_t neg_above);
  BucketAreas (*scan_all)(const int64_t* counts, int64_t images, int64_t pos_above,
                          int64_t neg_above);
};

}  // namespace fastmetrics

// GCC 12 takes the undefined lanes inside its own AVX-512 intrinsics for a mistake.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#define FM_KERNELS "curve.inl"
#include "each_isa.h"
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

namespace fastmetrics {
namespace {

constexpr uint8_t kLeftOut = 255;
// The chunks of kept scores and labels, by element strides.
struct Chunk {
  const void* scores;
  const void* labels;
  int64_t first;
  int64_t rows;
  int64_t score_strides[2];
  int64_t label_strides[2];
};

struct Chunks {
  std::vector<Chunk> chunks;
  ScalarType scores = ScalarType::Float;
  ScalarType labels = ScalarType::Byte;
  int64_t rows = 0;
  int64_t columns = 0;
  bool multiclass = false;

  // One chunk of one dense column.
  Chunks(const void* column, ScalarType type, const uint8_t* marks, int64_t rows)
      : chunks{Chunk{column, marks, 0, rows, {1, 1}, {1, 1}}},
        scores(type),
        rows(rows),
        columns(1) {}

  Chunks(const std::vector<Tensor>& preds, const std::vector<Tensor>& target, int64_t columns,
         bool multiclass)
      : columns(columns), multiclass(multiclass) {
    require(preds.size() == target.size(), "`preds` and `target` need as many chunks.");
    for (size_t i = 0; i < preds.size(); ++i) {
      const Tensor& p = preds[i];
      const Tensor& t = target[i];
      require(p.dim() == 2 && p.size(1) == columns, "`preds` must be [M, C].");
      require(t.dim() == (multiclass ? 1 : 2) && t.size(0) == p.size(0) &&
                  (multiclass || t.size(1) == columns),
              "`preds` and `target` do not fit.");
      if (i == 0) {
        scores = p.scalar_type();
        labels = t.scalar_type();
        require(is_score_type(scores), "`preds` must be a float tensor.");
        require(labels == ScalarType::Byte || (multiclass && labels == ScalarType::Int),
                "`target` has a dtype that this op does not take.");
      }
      require(p.scalar_type() == scores && t.scalar_type() == labels, "all chunks need one dtype.");
      chunks.push_back(Chunk{p.const_data_ptr(),
                             t.const_data_ptr(),
                             rows,
                             p.size(0),
                             {p.stride(0), p.stride(1)},
                             {t.stride(0), multiclass ? 0 : t.stride(1)}});
      rows += p.size(0);
    }
  }
};

// One column of all chunks, or all columns as one, read in blocks.
template <class T>
class Samples {
 public:
  static constexpr int64_t kAll = -1;

  Samples(const Chunks& chunks, int64_t column)
      : chunks_(chunks), pool_(column == kAll), column_(pool_ ? 0 : column) {}

  int64_t count() const { return chunks_.rows * (pool_ ? chunks_.columns : 1); }

  // Calls f(scores, labels, count) with blocks of the samples [begin, end).
  template <class F>
  void visit(int64_t begin, int64_t end, F&& f) const {
    const int64_t width = pool_ ? chunks_.columns : 1;
    T scores[kCurveBlock];
    uint8_t labels[kCurveBlock];
    auto chunk = std::partition_point(
        chunks_.chunks.begin(), chunks_.chunks.end(),
        [&](const Chunk& one) { return (one.first + one.rows) * width <= begin; });
    for (; chunk != chunks_.chunks.end() && chunk->first * width < end; ++chunk) {
      const int64_t first = std::max<int64_t>(begin - chunk->first * width, 0);
      const int64_t last = std::min(end - chunk->first * width, chunk->rows * width);
      for (int64_t at = first; at < last; at += kCurveBlock) {
        const int64_t count = std::min(kCurveBlock, last - at);
        f(read_scores(*chunk, at, count, scores), read_labels(*chunk, at, count, labels), count);
      }
    }
  }

 private:
  const T* read_scores(const Chunk& chunk, int64_t at, int64_t count, T* buffer) const {
    const T* data = static_cast<const T*>(chunk.scores) + column_ * chunk.score_strides[1];
    return read(data, chunk.score_strides, at, count, buffer);
  }

  const uint8_t* read_labels(const Chunk& chunk, int64_t at, int64_t count, uint8_t* buffer) const {
    if (!chunks_.multiclass) {
      const uint8_t* data =
          static_cast<const uint8_t*>(chunk.labels) + column_ * chunk.label_strides[1];
      return read(data, chunk.label_strides, at, count, buffer);
    }
    if (chunks_.labels == ScalarType::Byte) {
      mark_class<uint8_t>(chunk, at, count, kLeftOut, buffer);
    } else {
      mark_class<int32_t>(chunk, at, count, -1, buffer);
    }
    return buffer;
  }

  template <class V>
  const V* read(const V* data, const int64_t* strides, int64_t at, int64_t count, V* buffer) const {
    const int64_t width = chunks_.columns;
    const bool dense = pool_ ? strides[0] == width * strides[1] : true;
    const int64_t step = pool_ ? strides[1] : strides[0];
    if (dense && step == 1) {
      return data + at;
    }
    if (dense) {
      for (int64_t i = 0; i < count; ++i) {
        buffer[i] = data[(at + i) * step];
      }
      return buffer;
    }
    int64_t row = at / width;
    int64_t column = at % width;
    for (int64_t i = 0; i < count; ++i) {
      buffer[i] = data[row * strides[0] + column * strides[1]];
      if (++column == width) {
        column = 0;
        ++row;
      }
    }
    return buffer;
  }

  // Whether each sample belongs to the class of its column.
  template <class Label>
  void mark_class(const Chunk& chunk, int64_t at, int64_t count, Label left_out,
                  uint8_t* marks) const {
    const Label* labels = static_cast<const Label*>(chunk.labels);
    const int64_t stride = chunk.label_strides[0];
    if (!pool_) {
      for (int64_t i = 0; i < count; ++i) {
        const Label label = labels[(at + i) * stride];
        marks[i] = label == left_out ? kLeftOut : static_cast<int64_t>(label) == column_;
      }
      return;
    }
    int64_t row = at / chunks_.columns;
    int64_t column = at % chunks_.columns;
    for (int64_t i = 0; i < count; ++i) {
      const Label label = labels[row * stride];
      marks[i] = label == left_out ? kLeftOut : static_cast<int64_t>(label) == column;
      if (++column == chunks_.columns) {
        column = 0;
        ++row;
      }
    }
  }

  const Chunks& chunks_;
  bool pool_;
  int64_t column_;
};

// How often each cell, a bin with its label, occurs in each of a few ranges of the samples.
template <class T>
struct CellCounts {
  int64_t count;
  int64_t bins;
  int shift;
  int64_t parts;
  int64_t length;
  std::vector<std::vector<uint32_t>> cells;

  // Ranges have several samples for each of their cells, so that the cells take little memory.
  CellCounts(const Samples<T>& samples, int bits)
      : count(samples.count()),
        bins(int64_t{1} << bits),
        shift(8 * static_cast<int>(sizeof(T)) - bits),
        parts(std::clamp(count / (4 * bins), int64_t{1}, num_threads())),
        length((count + parts - 1) / parts),
        cells(static_cast<size_t>(parts)) {
    const auto kernel = FM_PICK(kCurveScores<T>).count_cells;
    for_parts(parts, [&](int64_t part) {
      std::vector<uint32_t>& own = cells[static_cast<size_t>(part)];
      own.resize(static_cast<size_t>(2 * bins + 2));
      visit(samples, part, [&](const T* scores, const uint8_t* labels, int64_t size) {
        kernel(scores, labels, size, shift, static_cast<uint32_t>(bins), own.data());
      });
    });
  }

  template <class F>
  void visit(const Samples<T>& samples, int64_t part, F&& f) const {
    samples.visit(part * length, std::min(count, (part + 1) * length), f);
  }

  // Counts of all ranges together, negatives and positives of each bin.
  std::vector<int64_t> totals() const {
    std::vector<int64_t> sums(static_cast<size_t>(2 * bins));
    for (const std::vector<uint32_t>& own : cells) {
      for (size_t cell = 0; cell < sums.size(); ++cell) {
        sums[cell] += own[cell];
      }
    }
    return sums;
  }
};

struct Bucket {
  uint64_t first_image;
  uint64_t images;
  int64_t begin;  // where its keys lie
  int64_t neg = 0;
  int64_t pos = 0;
  int64_t neg_above = 0;
  int64_t pos_above = 0;

  int64_t count() const { return neg + pos; }
};

// Few buckets at a time keep the scattered writes near; small ones are sorted in the cache.
constexpr int64_t kFewBuckets = 48;
constexpr int64_t kManyBuckets = 1024;
constexpr int64_t kSmallBucket = 512;
constexpr int64_t kLargeBucket = 1 << 15;

int64_t bucket_size(int64_t count) {
  const int64_t size = std::clamp(count / kFewBuckets, kSmallBucket, kLargeBucket);
  return std::max(size, count / kManyBuckets);
}

// All counted samples as keys in ascending buckets.
template <class T>
class Buckets {
 public:
  using Key = ImageOf<T>;
  static constexpr int kBits = 8 * sizeof(Key);

  explicit Buckets(const Samples<T>& samples) : keys_(samples.count()) {
    const int size_bits = std::bit_width(static_cast<uint64_t>(samples.count()));
    const CellCounts<T> counts(samples, std::clamp(size_bits - 2, 8, 16));
    std::vector<uint16_t> bucket_of(static_cast<size_t>(counts.bins + 1));
    join_bins(counts, bucket_of);
    scatter(samples, counts, bucket_of);
  }

  const std::vector<Bucket>& buckets() const { return buckets_; }
  Key* keys(const Bucket& bucket) { return keys_.data() + bucket.begin; }

 private:
  void join_bins(const CellCounts<T>& counts, std::vector<uint16_t>& bucket_of) {
    const std::vector<int64_t> totals = counts.totals();
    const int64_t wanted = bucket_size(counts.count);
    // Keys lose the leading bit of the image, so a bucket spans at most half of all images.
    const int64_t widest = counts.bins / 2;
    int64_t first_bin = 0;
    int64_t begin = 0;
    for (int64_t bin = 0; bin < counts.bins; ++bin) {
      const int64_t neg = totals[static_cast<size_t>(2 * bin)];
      const int64_t pos = totals[static_cast<size_t>(2 * bin + 1)];
      if (neg + pos == 0) {
        continue;
      }
      if (buckets_.empty() || buckets_.back().count() + neg + pos > wanted ||
          bin - first_bin >= widest) {
        first_bin = bin;
        buckets_.push_back(Bucket{static_cast<uint64_t>(bin) << counts.shift, 0, begin});
      }
      Bucket& bucket = buckets_.back();
      bucket.images = static_cast<uint64_t>(bin + 1 - first_bin) << counts.shift;
      bucket.neg += neg;
      bucket.pos += pos;
      begin += neg + pos;
      bucket_of[static_cast<size_t>(bin)] = static_cast<uint16_t>(buckets_.size() - 1);
    }
    bucket_of[static_cast<size_t>(counts.bins)] = static_cast<uint16_t>(buckets_.size());
    int64_t neg = 0;
    int64_t pos = 0;
    for (auto bucket = buckets_.rbegin(); bucket != buckets_.rend(); ++bucket) {
      bucket->neg_above = neg;
      bucket->pos_above = pos;
      neg += bucket->neg;
      pos += bucket->pos;
    }
  }

  // Each range of samples has its own place in each bucket; what is left out goes to the end.
  void scatter(const Samples<T>& samples, const CellCounts<T>& counts,
               const std::vector<uint16_t>& bucket_of) {
    std::vector<std::vector<Key*>> ends(static_cast<size_t>(counts.parts));
    std::vector<int64_t> places;
    for (const Bucket& bucket : buckets_) {
      places.push_back(bucket.begin);
    }
    places.push_back(buckets_.empty() ? 0 : buckets_.back().begin + buckets_.back().count());
    for (size_t part = 0; part < ends.size(); ++part) {
      for (const int64_t place : places) {
        ends[part].push_back(keys_.data() + place);
      }
      const std::vector<uint32_t>& cells = counts.cells[part];
      for (size_t bin = 0; bin < bucket_of.size(); ++bin) {
        places[bucket_of[bin]] += int64_t{cells[2 * bin]} + cells[2 * bin + 1];
      }
    }
    const auto kernel = FM_PICK(kCurveScores<T>).scatter_keys;
    for_parts(counts.parts, [&](int64_t part) {
      Key** own = ends[static_cast<size_t>(part)].data();
      counts.visit(samples, part, [&](const T* scores, const uint8_t* labels, int64_t size) {
        kernel(scores, labels, size, counts.shift, static_cast<uint32_t>(counts.bins),
               bucket_of.data(), own);
      });
    });
  }

  Uncleared<Key> keys_;
  std::vector<Bucket> buckets_;
};

// Sorts and scans buckets, one after the other, in memory of its own.
template <class Key>
class BucketWorker {
 public:
  // What the pairs within the bucket and the positives in it contribute.
  BucketAreas areas(const Bucket& bucket, Key* keys) {
    if (bucket.pos == 0) {
      return BucketAreas{};
    }
    if (bucket.neg == 0 && bucket.neg_above == 0) {
      return BucketAreas{0, static_cast<double>(bucket.pos)};
    }
    const int64_t count = bucket.count();
    const KeyKernelsOf<Key>& kernels = FM_PICK(kCurveKeys<Key>);
    const Key varying = kernels.rebase(keys, count, static_cast<Key>(bucket.first_image << 1));
    if (is_dense(bucket, varying)) {
      return FM_PICK(kCurveCounts)
          .scan_bucket(count_keys(bucket, keys), static_cast<int64_t>(bucket.images),
                       bucket.pos_above, bucket.neg_above);
    }
    const Key* sorted = kernels.sort(keys, spare(count), count, varying);
    return kernels.scan(sorted, count, bucket.pos_above, bucket.neg_above);
  }

  // Sorts in place, relative to the first image of the bucket, and counts the distinct scores.
  int64_t sort(const Bucket& bucket, Key* keys) {
    const int64_t count = bucket.count();
    const KeyKernelsOf<Key>& kernels = FM_PICK(kCurveKeys<Key>);
    const Key varying = kernels.rebase(keys, count, static_cast<Key>(bucket.first_image << 1));
    if (is_dense(bucket, varying)) {
      const uint32_t* counts = count_keys(bucket, keys);
      Key* end = keys;
      for (uint64_t key = 0; key < 2 * bucket.images; ++key) {
        end = std::fill_n(end, counts[key], static_cast<Key>(key));
      }
    } else {
      const Key* sorted = kernels.sort(keys, spare(count), count, varying);
      if (sorted != keys) {
        std::copy_n(sorted, count, keys);
      }
    }
    int64_t distinct = 1;
    for (int64_t i = 1; i < count; ++i) {
      distinct += (keys[i] ^ keys[i - 1]) > 1;
    }
    return distinct;
  }

 private:
  // Counting every image takes less than sorting, and no second array.
  static bool is_dense(const Bucket& bucket, Key varying) {
    return sizeof(Key) == 4 && varying > 1 && bucket.images <= (1u << 16) &&
           static_cast<uint64_t>(bucket.count()) >= bucket.images;
  }

  const uint32_t* count_keys(const Bucket& bucket, const Key* keys) {
    counts_.assign(static_cast<size_t>(2 * bucket.images), 0);
    FM_PICK(kCurveKeys<Key>).count(keys, bucket.count(), counts_.data());
    return counts_.data();
  }

  Key* spare(int64_t count) {
    if (count > spare_size_) {
      spare_ = std::make_unique<Uncleared<Key>>(count);
      spare_size_ = count;
    }
    return spare_->data();
  }

  std::unique_ptr<Uncleared<Key>> spare_;
  int64_t spare_size_ = 0;
  std::vector<uint32_t> counts_;
};

// Columns of the result.
struct CurveAreas {
  double area;
  double precision;
  double neg;
  double pos;
};

template <class T>
CurveAreas areas_of(const Samples<T>& samples) {
  if constexpr (sizeof(T) == 2) {
    const CellCounts<T> counts(samples, 16);
    const std::vector<int64_t> totals = counts.totals();
    int64_t sums[2] = {0, 0};
    for (size_t cell = 0; cell < totals.size(); ++cell) {
      sums[cell % 2] += totals[cell];
    }
    const BucketAreas all = FM_PICK(kCurveCounts).scan_all(totals.data(), counts.bins, 0, 0);
    return CurveAreas{static_cast<double>(all.twice_area) / 2, all.precision,
                      static_cast<double>(sums[0]), static_cast<double>(sums[1])};
  } else {
    Buckets<T> sorted(samples);
    const std::vector<Bucket>& buckets = sorted.buckets();
    std::vector<BucketAreas> found(buckets.size());
    for_tasks<BucketWorker<ImageOf<T>>>(
        static_cast<int64_t>(buckets.size()), num_workers(samples.count()),
        [&](auto& worker, int64_t task) {
          const Bucket& bucket = buckets[static_cast<size_t>(task)];
          found[static_cast<size_t>(task)] = worker.areas(bucket, sorted.keys(bucket));
        });
    BucketAreas all;
    uint64_t neg = 0;
    uint64_t pos = 0;
    for (size_t i = buckets.size(); i-- > 0;) {
      const uint64_t below = static_cast<uint64_t>(buckets[i].neg);
      all.twice_area += found[i].twice_area + 2 * below * pos;
      all.precision += found[i].precision;
      neg += below;
      pos += static_cast<uint64_t>(buckets[i].pos);
    }
    return CurveAreas{static_cast<double>(all.twice_area) / 2, all.precision,
                      static_cast<double>(neg), static_cast<double>(pos)};
  }
}

template <class T>
T score_of(ImageOf<T> image) {
  using Image = ImageOf<T>;
  constexpr Image kSign = static_cast<Image>(Image{1} << (8 * sizeof(T) - 1));
  const Image bits = image == 0       ? static_cast<Image>(kInfinityOf<T> | (kInfinityOf<T> >> 1))
                     : image >= kSign ? static_cast<Image>(image - kSign)
                                      : static_cast<Image>((kSign - image) | kSign);
  return std::bit_cast<T>(bits);
}

// Where the points of a curve go, from the largest score down.
template <class T>
struct Points {
  double* fps;
  double* tps;
  T* thresholds;

  void write(int64_t place, int64_t neg, int64_t pos, ImageOf<T> image) const {
    fps[place] = static_cast<double>(neg);
    tps[place] = static_cast<double>(pos);
    thresholds[place] = score_of<T>(image);
  }
};

// Writes the points of one sorted bucket, the first of them at `place`.
template <class T>
void write_bucket(const Bucket& bucket, const ImageOf<T>* keys, int64_t place,
                  const Points<T>& points) {
  int64_t neg = bucket.neg_above;
  int64_t pos = bucket.pos_above;
  for (int64_t i = bucket.count() - 1; i >= 0; --i) {
    const int64_t is_pos = static_cast<int64_t>(keys[i] & 1);
    pos += is_pos;
    neg += 1 - is_pos;
    if (i == 0 || (keys[i] ^ keys[i - 1]) > 1) {
      points.write(place++, neg, pos, static_cast<ImageOf<T>>(bucket.first_image + (keys[i] >> 1)));
    }
  }
}

// Returns the number of points.
template <class T>
int64_t points_of(const Samples<T>& samples, const Points<T>& points) {
  if constexpr (sizeof(T) == 2) {
    const CellCounts<T> counts(samples, 16);
    const std::vector<int64_t> totals = counts.totals();
    int64_t place = 0;
    int64_t neg = 0;
    int64_t pos = 0;
    for (int64_t image = counts.bins - 1; image >= 0; --image) {
      const int64_t* here = totals.data() + 2 * image;
      neg += here[0];
      pos += here[1];
      if (here[0] + here[1] > 0) {
        points.write(place++, neg, pos, static_cast<ImageOf<T>>(image));
      }
    }
    return place;
  } else {
    Buckets<T> sorted(samples);
    const std::vector<Bucket>& buckets = sorted.buckets();
    const int64_t count = static_cast<int64_t>(buckets.size());
    const int64_t workers = num_workers(samples.count());
    std::vector<int64_t> places(buckets.size());
    for_tasks<BucketWorker<ImageOf<T>>>(count, workers, [&](auto& worker, int64_t task) {
      const Bucket& bucket = buckets[static_cast<size_t>(task)];
      places[static_cast<size_t>(task)] = worker.sort(bucket, sorted.keys(bucket));
    });
    int64_t total = 0;
    for (size_t i = buckets.size(); i-- > 0;) {
      total += std::exchange(places[i], total);
    }
    for_tasks<char>(count, workers, [&](char, int64_t task) {
      const Bucket& bucket = buckets[static_cast<size_t>(task)];
      write_bucket<T>(bucket, sorted.keys(bucket), places[static_cast<size_t>(task)], points);
    });
    return total;
  }
}

// Calls one(curve) for each curve: one thread for each, or all threads for one after the other.
template <class F>
void for_curves(int64_t curves, int64_t rows, F&& one) {
  const int64_t workers = num_workers(rows * curves);
  if (workers > 1 && curves >= workers) {
    for_parts(curves, one);
    return;
  }
  for (int64_t curve = 0; curve < curves; ++curve) {
    one(curve);
  }
}

// Many columns lie far apart, so some of them at a time are copied side by side before they are
// read twice; of few columns each line of the cache holds several rows.
constexpr int64_t kStridedColumns = 8;
constexpr int64_t kCopiedColumns = 16;

template <class T, class F>
void for_columns(const Chunks& chunks, F&& use) {
  if (chunks.columns < kStridedColumns) {
    for_curves(chunks.columns, chunks.rows,
               [&](int64_t column) { use(column, Samples<T>(chunks, column)); });
    return;
  }
  const int64_t group = std::min(kCopiedColumns, chunks.columns / 2);
  const int64_t rows = chunks.rows;
  Uncleared<T> scores(group * rows);
  Uncleared<uint8_t> marks(group * rows);
  for (int64_t first = 0; first < chunks.columns; first += group) {
    const int64_t width = std::min(group, chunks.columns - first);
    const int64_t blocks = (rows + kCurveBlock - 1) / kCurveBlock;
    for_tasks<char>(blocks, num_workers(rows * width), [&](char, int64_t block) {
      const int64_t begin = block * kCurveBlock;
      const int64_t end = std::min(rows, begin + kCurveBlock);
      for (int64_t i = 0; i < width; ++i) {
        int64_t place = i * rows + begin;
        Samples<T>(chunks, first + i)
            .visit(begin, end, [&](const T* some, const uint8_t* labels, int64_t count) {
              std::copy_n(some, count, scores.data() + place);
              std::copy_n(labels, count, marks.data() + place);
              place += count;
            });
      }
    });
    for_curves(width, rows, [&](int64_t i) {
      const Chunks column(scores.data() + i * rows, chunks.scores, marks.data() + i * rows, rows);
      use(first + i, Samples<T>(column, 0));
    });
  }
}

void require_countable(int64_t samples) {
  require(samples <= int64_t{std::numeric_limits<uint32_t>::max()},
          "a curve takes fewer than 2**32 scores.");
}

void curve_areas_cpu(Tensor areas, std::vector<Tensor> preds, std::vector<Tensor> target,
                     bool multiclass, bool pool) {
  require(areas.scalar_type() == ScalarType::Double && areas.dim() == 2 && areas.size(1) == 4,
          "`areas` must be float64 [C, 4].");
  const int64_t curves = areas.size(0);
  const int64_t columns = pool && !preds.empty() && preds[0].dim() == 2 ? preds[0].size(1) : curves;
  require(!pool || curves == 1, "`areas` must be float64 [1, 4] with `pool`.");
  const Chunks chunks(preds, target, columns, multiclass);
  require_countable(chunks.rows * (pool ? columns : 1));
  double* out = state_data<double>(areas);
  with_score_type(chunks.scores, [&](auto type) {
    using T = decltype(type);
    const auto use = [&](int64_t curve, const Samples<T>& samples) {
      const CurveAreas found = areas_of(samples);
      std::memcpy(out + 4 * curve, &found, sizeof(found));
    };
    if (pool) {
      use(0, Samples<T>(chunks, Samples<T>::kAll));
    } else {
      for_columns<T>(chunks, use);
    }
  });
}

template <class T>
T* points_data(Tensor& out, ScalarType type, int64_t curves, int64_t samples) {
  require(out.scalar_type() == type && out.dim() == 2 && out.size(0) == curves &&
              out.size(1) >= samples,
          "the arrays of points do not fit.");
  return state_data<T>(out);
}

void curve_points_cpu(Tensor fps, Tensor tps, Tensor thresholds, Tensor count,
                      std::vector<Tensor> preds, std::vector<Tensor> target, bool multiclass,
                      bool pool) {
  require(count.scalar_type() == ScalarType::Long && count.dim() == 1,
          "`count` must be int64 [C].");
  const int64_t curves = count.size(0);
  int64_t* total = state_data<int64_t>(count);
  if (preds.empty()) {
    std::fill_n(total, curves, 0);
    return;
  }
  const int64_t columns = pool && preds[0].dim() == 2 ? preds[0].size(1) : curves;
  require(!pool || curves == 1, "`count` must be int64 [1] with `pool`.");
  const Chunks chunks(preds, target, columns, multiclass);
  const int64_t samples = chunks.rows * (pool ? columns : 1);
  require_countable(samples);
  double* false_positives = points_data<double>(fps, ScalarType::Double, curves, samples);
  double* true_positives = points_data<double>(tps, ScalarType::Double, curves, samples);
  const int64_t room = fps.size(1);
  require(tps.size(1) == room && thresholds.dim() == 2 && thresholds.size(1) == room,
          "the arrays of points differ.");
  with_score_type(chunks.scores, [&](auto type) {
    using T = decltype(type);
    T* cuts = points_data<T>(thresholds, chunks.scores, curves, samples);
    const auto use = [&](int64_t curve, const Samples<T>& those) {
      const int64_t first = curve * room;
      total[curve] = points_of(
          those, Points<T>{false_positives + first, true_positives + first, cuts + first});
    };
    if (pool) {
      use(0, Samples<T>(chunks, Samples<T>::kAll));
    } else {
      for_columns<T>(chunks, use);
    }
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<curve_points_cpu>(library, "curve_points_");
  register_op<curve_areas_cpu>(library, "curve_areas_");
}

}  // namespace fastmetrics
