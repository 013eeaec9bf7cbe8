// fused_: several statistics of one batch in one walk over it; all of their states change, or none.
#include <algorithm>
#include <bit>

#include "fusible.h"
#include "op.h"

namespace fastmetrics {
namespace {

// What all jobs take before the next block is read; it stays in the cache meanwhile.
constexpr int64_t kBytesPerBlock = 64 * 1024;
constexpr int64_t kLeastUnits = 64;

// The jobs of a call, each behind those whose results it uses.
std::vector<std::unique_ptr<Job>> jobs_of(FusedCall call) {
  std::vector<std::unique_ptr<Job>> jobs;
  while (!call.program.at_end()) {
    const auto op = std::ranges::find(fusible_ops(), call.program.next(), &FusibleOp::code);
    require(op != fusible_ops().end(), "fused_ does not know this op.");
    std::unique_ptr<Job> next = op->job(call);
    if (std::ranges::none_of(jobs, [&](const auto& job) { return job->take_over(*next); })) {
      jobs.push_back(std::move(next));
    }
  }
  require(
      call.states.at_end() && call.events.at_end() && call.edges.at_end() && call.numbers.at_end(),
      "the lists of fused_ do not fit each other.");
  std::ranges::stable_partition(jobs, [](const auto& job) { return job->leaves_top_probs(); });
  return jobs;
}

// Adds the batch to jobs of as many units, block by block.
void walk(std::span<const std::unique_ptr<Job>> jobs) {
  Extent all = jobs.front()->extent();
  for (const auto& job : jobs.subspan(1)) {
    const Extent own = job->extent();
    all.bytes_per_unit = std::max(all.bytes_per_unit, own.bytes_per_unit);
    all.scratch_bytes += own.scratch_bytes;
    all.exact = all.exact && own.exact;
  }
  const Partition partition = all.partition();
  for (const auto& job : jobs) {
    job->open(partition);
  }
  const auto fitting = static_cast<uint64_t>(kBytesPerBlock / all.bytes_per_unit);
  const int64_t block = std::max(kLeastUnits, static_cast<int64_t>(std::bit_floor(fitting)));
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += block) {
      for (const auto& job : jobs) {
        job->add(part, first, std::min(end, first + block));
      }
    }
  });
}

void fused_cpu(std::vector<Tensor> states, std::vector<Tensor> events, std::vector<Tensor> edges,
               const Tensor& preds, const Tensor& target, const OptionalTensor& weight,
               std::vector<int64_t> program, std::vector<double> numbers) {
  TopProbs top_probs;
  const Inputs inputs{preds, target, weight, &top_probs};
  std::vector<std::unique_ptr<Job>> jobs = jobs_of(
      {inputs, Reader(states), Reader(events), Reader(edges), Reader(program), Reader(numbers)});
  const auto units = [](const auto& job) { return job->extent().units; };
  std::erase_if(jobs, [&](const auto& job) { return units(job) == 0; });
  std::ranges::stable_sort(jobs, {}, units);
  for (auto first = jobs.begin(); first != jobs.end();) {
    const auto last = std::ranges::upper_bound(first, jobs.end(), units(*first), {}, units);
    walk(std::span(first, last));
    first = last;
  }
  for (const auto& job : jobs) {
    job->check();
  }
  for (const auto& job : jobs) {
    job->commit();
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) { register_op<fused_cpu>(library, "fused_"); }

}  // namespace fastmetrics
