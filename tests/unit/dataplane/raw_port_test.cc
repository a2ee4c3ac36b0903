// SPDX-License-Identifier: Apache-2.0
// Raw ports: frames of an in-memory queue through a whole Engine of two workers and out by another raw port, and the
// bursts of buffers by themselves.
#include "dataplane/raw_port.h"

#include <gtest/gtest.h>
#include <rte_mempool.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <functional>

#include "dataplane/engine.h"
#include "fake_queue.h"
#include "raw_burst.h"
#include "teal/checksum.h"
#include "teal/net.h"

namespace teal::dataplane {
namespace {

using model::Address;
using test::Bytes;
using test::FakeQueue;
constexpr model::Mac client_mac{2, 0, 0, 0, 0, 0xc1}, backend_mac{2, 0, 0, 0, 0, 0xb1};

model::Mac mac_of(unsigned port) {
  return {2, 0, 0, 0, 1, static_cast<uint8_t>(port)};
}

// UDP from a client to the VIP as it comes in by `port`; no UDP checksum.
Bytes datagram(unsigned port, size_t length, const char* to = "192.0.2.1", model::Mac mac = {}) {
  Bytes f(length);
  for (size_t i = 0; i < length; i++) f[i] = static_cast<uint8_t>(i * 11 + i / 256);
  if (mac == model::Mac{}) mac = mac_of(port);
  std::copy(mac.begin(), mac.end(), f.begin());
  std::copy(client_mac.begin(), client_mac.end(), f.begin() + 6);
  const auto put16 = [&](size_t at, size_t v) {
    f[at] = static_cast<uint8_t>(v >> 8);
    f[at + 1] = static_cast<uint8_t>(v);
  };
  put16(12, 0x0800);
  std::fill(f.begin() + 14, f.begin() + 42, uint8_t{0});
  f[14] = 0x45;
  put16(16, length - 14);
  f[22] = 64;
  f[23] = 17;
  std::copy_n(Address::parse("198.51.100.7")->bytes.begin(), 4, f.begin() + 26);
  std::copy_n(Address::parse(to)->bytes.begin(), 4, f.begin() + 30);
  uint32_t sum = 0;
  for (size_t i = 14; i < 34; i += 2) sum += static_cast<uint32_t>(f[i] << 8 | f[i + 1]);
  sum = (sum & 0xffff) + (sum >> 16);
  put16(24, ~((sum & 0xffff) + (sum >> 16)) & 0xffff);
  put16(34, 40000);
  put16(36, 53);
  put16(38, length - 34);
  return f;
}

// EAL starts once a process, so all tests share one engine: ports 0 and 1 have a queue each (worker 0's, worker 1's),
// port 2 three: worker 0's, worker 1's, worker 0's. The only backend is behind the port that the test says.
class RawPortTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    config_.engine.workers = 2;
    config_.engine.memory = model::Memory::ordinary;
    config_.engine.packet_memory_mib = 96;
    config_.engine.flows = 1024;
    config_.engine.idle = model::Idle::adaptive;
    std::vector<RawPort> raw;
    for (uint16_t i = 0; i < 3; i++) {
      model::PortConfig p;
      p.name = "raw" + std::to_string(i);
      p.device = "eth" + std::to_string(i);
      p.engine = model::Engine::xdp;
      config_.ports.push_back(p);
      for (int q = 0; q < (i == 2 ? 3 : 1); q++) queues_.push_back(std::make_shared<FakeQueue>());
      raw.push_back({i, p.name, p.device, mac_of(i), 100 + i, 9000, {}});
    }
    raw[0].queues = {queues_[0]};
    raw[1].queues = {queues_[1]};
    raw[2].queues = {queues_[2], queues_[3], queues_[4]};
    std::swap(raw[0], raw[2]);  // their order is the numbers', whatever the vector's
    const auto file = std::filesystem::temp_directory_path() / ("teal-raw-" + std::to_string(getpid()));
    storage_ = std::make_unique<flow::Storage>(flow::Storage::Options{file.string(), false, 1024});
    std::filesystem::remove(file);
    table_ = std::make_unique<flow::Table>(storage_->buckets(), storage_->head().buckets, storage_->locks(),
                                           storage_->owner());
    TEAL_STORE(&storage_->splits()[1].current, teal_split_make(1, 0, 0, TEAL_BLUE));
    engine_ = std::make_unique<Engine>(config_, *storage_, *table_, raw);
    backend_behind(1);
  }
  static void TearDownTestSuite() {
    engine_.reset();
    queues_.clear();
    table_.reset();
    storage_.reset();
    config_ = {};
  }

  static void backend_behind(unsigned port) {
    model::SnapshotInput in;
    in.secret = storage_->head().secret;
    in.engine = config_.engine;
    in.ports = engine_->bindings();
    for (int i = 0; i < 3; i++)
      in.topology.links.push_back({100 + i, "eth" + std::to_string(i), mac_of(static_cast<unsigned>(i)), 9000, true});
    const int ifindex = 100 + static_cast<int>(port);
    in.topology.routes.push_back({*model::Prefix::parse("10.0.0.0/24"), ifindex, {}, {}, 0});
    in.topology.neighbours.push_back({ifindex, *Address::parse("10.0.0.2"), backend_mac, true});
    model::SnapshotService s;
    s.number = 1;
    s.group = 1;
    s.config.name = "dns";
    s.config.vip = *Address::parse("192.0.2.1");
    s.config.port = 53;
    s.config.protocol = model::Protocol::udp;
    in.services.push_back(s);
    in.backends.push_back({1, 1, 0, {*Address::parse("10.0.0.2"), 5353}, 1});
    engine_->publish(std::make_unique<const model::Snapshot>(in, maglev_));
  }

  // As the backend is to see it, sent out of `port`.
  static Bytes forwarded(const Bytes& in, unsigned port) {
    Bytes f = datagram(0, in.size(), "10.0.0.2");
    std::copy(in.begin() + 42, in.end(), f.begin() + 42);
    std::copy(backend_mac.begin(), backend_mac.end(), f.begin());
    const model::Mac mac = mac_of(port);
    std::copy(mac.begin(), mac.end(), f.begin() + 6);
    f[22]--;  // TTL; its checksum goes up by as much
    const unsigned sum = static_cast<unsigned>(f[24] << 8 | f[25]) + 0x100;
    f[24] = static_cast<uint8_t>((sum + (sum >> 16)) >> 8);
    f[25] = static_cast<uint8_t>(sum + (sum >> 16));
    f[36] = 5353 >> 8;
    f[37] = 5353 & 0xff;
    return f;
  }

  static bool until(const std::function<bool()>& met) {
    for (int ms = 0; ms < 2000 && !met(); ms++) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return met();
  }

  static inline model::Config config_;
  static inline std::vector<std::shared_ptr<FakeQueue>> queues_;
  static inline std::unique_ptr<flow::Storage> storage_;
  static inline std::unique_ptr<flow::Table> table_;
  static inline std::unique_ptr<Engine> engine_;
  static inline model::MaglevCache maglev_;
};

TEST_F(RawPortTest, BindingsAreInOrderOfNumbers) {
  const auto b = engine_->bindings();
  ASSERT_EQ(b.size(), 3u);
  for (unsigned i = 0; i < 3; i++) {
    EXPECT_EQ(b[i].port, i);
    EXPECT_EQ(b[i].ifindex, static_cast<int>(100 + i));
    EXPECT_EQ(b[i].mac, mac_of(i));
    EXPECT_EQ(b[i].mtu, 9000);
  }
}

TEST_F(RawPortTest, CrossesToAnotherWorkersPort) {
  backend_behind(1);
  const Counters before = engine_->totals();
  for (const size_t length : {60u, 1514u}) {
    const Bytes f = datagram(0, length);
    queues_[0]->put(f);
    EXPECT_EQ(queues_[1]->next(), forwarded(f, 1)) << length;
  }
  const Counters after = engine_->totals();
  EXPECT_EQ(after.event[TEAL_EV_forwarded] - before.event[TEAL_EV_forwarded], 2u);
  EXPECT_EQ(after.event[TEAL_EV_tx_packets] - before.event[TEAL_EV_tx_packets], 2u);
  EXPECT_EQ(after.event[TEAL_EV_tx_bytes] - before.event[TEAL_EV_tx_bytes], 60u + 1514u);
  EXPECT_EQ(after.event[TEAL_EV_rx_packets], before.event[TEAL_EV_rx_packets]) << "the XDP program counts these";
  EXPECT_EQ(after.event[TEAL_EV_rx_bytes], before.event[TEAL_EV_rx_bytes]);
}

TEST_F(RawPortTest, ComesBackByThePortItCameIn) {
  backend_behind(0);
  const Bytes f = datagram(0, 200);
  queues_[0]->put(f);
  EXPECT_EQ(queues_[0]->next(), forwarded(f, 0));
}

TEST_F(RawPortTest, EachWorkerSendsByItsOwnFirstQueue) {
  backend_behind(2);
  const Bytes a = datagram(0, 100), b = datagram(1, 300);
  queues_[0]->put(a);  // worker 0's
  EXPECT_EQ(queues_[2]->next(), forwarded(a, 2));
  queues_[1]->put(b);  // worker 1's
  EXPECT_EQ(queues_[3]->next(), forwarded(b, 2));
  EXPECT_EQ(queues_[2]->left() + queues_[3]->left() + queues_[4]->left(), 0u);
  const Bytes c = datagram(2, 80);
  queues_[4]->put(c);  // worker 0's second
  EXPECT_EQ(queues_[2]->next(), forwarded(c, 2));
}

TEST_F(RawPortTest, EveryQueueHasOneOwner) {
  for (unsigned i = 0; i < 5; i++) {
    EXPECT_TRUE(until([&] { return queues_[i]->callers() > 0; })) << i;
    EXPECT_EQ(queues_[i]->callers(), 1u) << i;
  }
}

TEST_F(RawPortTest, FramesLargerThanABufferAreChained) {
  backend_behind(1);
  for (const size_t length : {2047u, 2048u, 2049u, 8000u, 9014u}) {
    const Bytes f = datagram(0, length);
    queues_[0]->put(f);
    EXPECT_EQ(queues_[1]->next(), forwarded(f, 1)) << length;
  }
  EXPECT_GT(queues_[1]->segments(), 1u);
}

TEST_F(RawPortTest, FullQueuesCountAsTxFull) {
  for (const unsigned port : {0u, 1u}) {  // 0: the worker's own, 1: another's
    backend_behind(port);
    const uint64_t before = engine_->totals().drop[TEAL_DROP_tx_full];
    queues_[port]->room = 0;
    for (int i = 0; i < 5; i++) queues_[0]->put(datagram(0, 100));
    EXPECT_TRUE(until([&] { return engine_->totals().drop[TEAL_DROP_tx_full] == before + 5; })) << port;
    queues_[port]->room = 1000;
    EXPECT_EQ(queues_[port]->left(), 0u);
  }
}

TEST_F(RawPortTest, WhatIsTheKernelsIsDroppedAndCounted) {
  const uint64_t before = engine_->totals().drop[TEAL_DROP_no_tap];
  queues_[0]->put(datagram(0, 100, "192.0.2.99"));
  EXPECT_TRUE(until([&] { return engine_->totals().drop[TEAL_DROP_no_tap] == before + 1; }));
  const uint64_t foreign = engine_->totals().drop[TEAL_DROP_not_our_mac];
  queues_[0]->put(datagram(0, 100, "192.0.2.1", mac_of(1)));
  EXPECT_TRUE(until([&] { return engine_->totals().drop[TEAL_DROP_not_our_mac] == foreign + 1; }));
}

TEST_F(RawPortTest, PortsTellWhatWentThroughTheQueues) {
  backend_behind(2);
  const auto before = engine_->ports();
  ASSERT_EQ(before.size(), 3u);
  const Bytes f = datagram(1, 500);
  queues_[1]->put(f);
  ASSERT_TRUE(queues_[3]->next());
  const auto after = engine_->ports();
  EXPECT_EQ(after[1].name, "raw1");
  EXPECT_EQ(after[1].device, "eth1");
  EXPECT_EQ(after[1].driver, "af_xdp");
  EXPECT_EQ(after[2].rx_queues, 3u);
  EXPECT_EQ(after[2].rx_missed, 21u) << "of all queues";
  EXPECT_EQ(after[1].rx_packets - before[1].rx_packets, 1u);
  EXPECT_EQ(after[1].rx_bytes - before[1].rx_bytes, 500u);
  EXPECT_EQ(after[1].tx_packets, before[1].tx_packets);
  EXPECT_EQ(after[2].tx_packets - before[2].tx_packets, 1u);
  EXPECT_EQ(after[2].tx_bytes - before[2].tx_bytes, 500u);
}

TEST_F(RawPortTest, SilenceCostsLittle) {
  std::this_thread::sleep_for(std::chrono::milliseconds(800));  // into the longest rest
  timespec a, b;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
  const double used_ms =
      static_cast<double>(b.tv_sec - a.tv_sec) * 1e3 + static_cast<double>(b.tv_nsec - a.tv_nsec) / 1e6;
  EXPECT_LT(used_ms / 2, 25.0) << "5 % of a core a worker";
}

TEST_F(RawPortTest, BurstsCopyAndCount) {
  rte_mempool* pool = rte_pktmbuf_pool_create("raw_small", 7, 0, 0, 128 + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
  ASSERT_NE(pool, nullptr);
  FakeQueue queue;
  Counters counters;
  std::array<rte_mbuf*, 64> packets;
  queue.put(Bytes(128, 1));
  queue.put(Bytes(129, 2));                    // two buffers
  queue.put(Bytes(128 + 4 * (128 + 128), 3));  // five; four are left
  queue.put(Bytes(60, 4));
  ASSERT_EQ(receive_raw(queue, pool, packets.data(), 32, counters), 3u);
  EXPECT_EQ(counters.drop[TEAL_DROP_no_room], 1u);
  EXPECT_EQ(queue.counts.rx_packets, 4u) << "of the queue, room or not";
  EXPECT_EQ(rte_mempool_in_use_count(pool), 4u) << "what the large frame had taken is free again";
  EXPECT_EQ(packets[0]->nb_segs, 1);
  EXPECT_EQ(packets[1]->nb_segs, 2);
  EXPECT_EQ(packets[1]->pkt_len, 129u);
  EXPECT_EQ(packets[2]->pkt_len, 60u);

  // Room for one, and what is waiting does not go away: the rest comes back, in order, and is not freed.
  struct Stuck final : RawQueue {
    unsigned taken = 0, flushes = 0;
    unsigned receive(unsigned, Take, void*) override { return 0; }
    bool send(const Segment* s, unsigned n) override {
      size_t length = 0;
      for (unsigned i = 0; i < n; i++) length += s[i].size();
      return length < 129 && taken++ == 0;
    }
    void flush() override { flushes++; }
  } stuck;
  std::swap(packets[0], packets[1]);  // the first is too large, the second goes, for the third there is no room
  rte_mbuf* const large = packets[0];
  rte_mbuf* const last = packets[2];
  EXPECT_EQ(send_raw(stuck, packets.data(), 3), 1u);
  EXPECT_EQ(packets[1], large);
  EXPECT_EQ(packets[2], last);
  EXPECT_EQ(stuck.flushes, 1u);
  EXPECT_EQ(stuck.counts.tx_packets, 1u);
  EXPECT_EQ(stuck.counts.tx_bytes, 128u);
  EXPECT_EQ(rte_mempool_in_use_count(pool), 3u);

  // A flush that makes room.
  queue.room = 1;
  EXPECT_EQ(send_raw(queue, packets.data() + 1, 2), 2u);
  queue.flush();
  EXPECT_EQ(queue.next(), Bytes(129, 2));
  EXPECT_EQ(queue.next(), Bytes(60, 4));
  EXPECT_EQ(rte_mempool_in_use_count(pool), 0u);
  rte_mempool_free(pool);
}

TEST_F(RawPortTest, APortWithoutItsQueuesIsRefused) {
  const auto message = [](std::vector<RawPort> raw) -> std::string {
    try {
      Engine(config_, *storage_, *table_, std::move(raw));
    } catch (const std::runtime_error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(message({}), "port 'raw0' (eth0): 0 raw ports with queues, expected 1");
}

}  // namespace
}  // namespace teal::dataplane
