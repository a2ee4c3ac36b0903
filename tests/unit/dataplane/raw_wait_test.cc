// SPDX-License-Identifier: Apache-2.0
// A worker that has nothing but raw queues sleeps until a frame comes.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <numeric>
#include <vector>

#include "dataplane/engine.h"
#include "fake_queue.h"

namespace teal::dataplane {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
constexpr model::Mac port_mac{2, 0, 0, 0, 1, 0}, other_mac{2, 0, 0, 0, 1, 9};

// EAL starts once a process: one test.
class RawWait {
 public:
  RawWait() {
    config_.engine.workers = 1;
    config_.engine.memory = model::Memory::ordinary;
    config_.engine.packet_memory_mib = 96;
    config_.engine.flows = 1024;
    config_.engine.idle = model::Idle::adaptive;
    model::PortConfig p;
    p.name = "raw0";
    p.device = "eth0";
    p.engine = model::Engine::xdp;
    config_.ports.push_back(p);
    queue->can_be_awaited();
    const auto file = std::filesystem::temp_directory_path() / ("teal-raw-wait-" + std::to_string(getpid()));
    storage_ = std::make_unique<flow::Storage>(flow::Storage::Options{file.string(), false, 1024});
    std::filesystem::remove(file);
    table_ = std::make_unique<flow::Table>(storage_->buckets(), storage_->head().buckets, storage_->locks(),
                                           storage_->owner());
    engine = std::make_unique<Engine>(config_, *storage_, *table_,
                                      std::vector<RawPort>{{0, p.name, p.device, port_mac, 100, 1500, {queue}}});
    model::SnapshotInput in;
    in.secret = storage_->head().secret;
    in.engine = config_.engine;
    in.ports = engine->bindings();
    engine->publish(std::make_unique<const model::Snapshot>(in, maglev_));
    std::this_thread::sleep_for(milliseconds(100));
  }

  unsigned looks_in(milliseconds time) const {
    const unsigned before = queue->looks;
    std::this_thread::sleep_for(time);
    return queue->looks - before;
  }

  [[nodiscard]] uint64_t drops() const {
    const Counters c = engine->totals();
    return std::accumulate(c.drop.begin(), c.drop.end(), uint64_t{0});
  }

  // From a frame's coming to its end, at most a second.
  milliseconds taken() {
    const uint64_t before = drops();
    test::Bytes frame(60);
    std::copy(other_mac.begin(), other_mac.end(), frame.begin());
    frame[12] = 8;
    const auto begin = steady_clock::now();
    queue->put(frame);
    while (drops() == before && steady_clock::now() - begin < milliseconds(1000))
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    return std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin);
  }

  const std::shared_ptr<test::FakeQueue> queue = std::make_shared<test::FakeQueue>();

 private:
  model::Config config_;
  std::unique_ptr<flow::Storage> storage_;
  std::unique_ptr<flow::Table> table_;
  model::MaglevCache maglev_;

 public:
  std::unique_ptr<Engine> engine;
};

TEST(RawWait, SleepsUntilAFrameComes) {
  RawWait t;
  EXPECT_LT(t.looks_in(milliseconds(500)), 100u) << "some twenty a second, and what an adoption takes";

  std::vector<milliseconds> times;
  for (int i = 0; i < 21; i++) {
    std::this_thread::sleep_for(milliseconds(20));
    times.push_back(t.taken());
  }
  std::sort(times.begin(), times.end());
  EXPECT_LT(times[10], milliseconds(5)) << "woken, not found at the end of its sleep";

  t.queue->stuck = true;  // frames wait to be sent: it has to look itself
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_GT(t.looks_in(milliseconds(500)), 200u);
  EXPECT_LT(t.taken(), milliseconds(50));
  t.queue->stuck = false;

  const auto begin = steady_clock::now();
  t.engine->synchronize();
  EXPECT_LT(steady_clock::now() - begin, milliseconds(20)) << "nobody waits for who sleeps";
  t.engine->stop();
  EXPECT_LT(steady_clock::now() - begin, milliseconds(500));
}

}  // namespace
}  // namespace teal::dataplane
