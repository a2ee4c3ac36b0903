// SPDX-License-Identifier: Apache-2.0
// xdp/socket.h against a real kernel: a veth pair in a namespace of its own, a program of four instructions that gives
// every frame to the socket, and a packet socket at the other end.
#include "xdp/socket.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <numeric>
#include <optional>
#include <thread>
#include <vector>

namespace teal::xdp {
namespace {

using Bytes = std::vector<uint8_t>;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr uint16_t ethertype = 0x88b5;  // IEEE: local experiments

// Distinct contents by number, so that a frame out of place is seen.
Bytes frame(size_t length, unsigned number) {
  Bytes f(length);
  for (size_t i = 0; i < length; i++) f[i] = static_cast<uint8_t>(i * 7 + i / 251 + number * 13);
  std::fill_n(f.begin(), 12, static_cast<uint8_t>(0x02));
  f[12] = ethertype >> 8;
  f[13] = ethertype & 0xff;
  return f;
}

// r2 = ctx->rx_queue_index; return bpf_redirect_map(map, r2, XDP_PASS)
int load_redirect(int map) {
  const bpf_insn code[] = {
      {BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, offsetof(xdp_md, rx_queue_index), 0},
      {BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map},
      {0, 0, 0, 0, 0},
      {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, XDP_PASS},
      {BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map},
      {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
  };
  bpf_prog_load_opts options{};
  options.sz = sizeof(options);
  options.prog_flags = BPF_F_XDP_HAS_FRAGS;
  options.expected_attach_type = BPF_XDP;
  return bpf_prog_load(BPF_PROG_TYPE_XDP, "to_socket", "GPL", code, std::size(code), &options);
}

class SocketTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: makes a network namespace and loads a program";
    outside_ = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    ASSERT_GE(outside_, 0);
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
    inside_ = true;
    run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
    run("ip link add near numrxqueues 2 numtxqueues 2 type veth peer name far numrxqueues 1 numtxqueues 1");
    run("ip link set near mtu 9000 up && ip link set far mtu 9000 up");
    run("ethtool -K far tx off gro on >/dev/null 2>&1");
    map_ = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "sockets", 4, 4, 4, nullptr);
    ASSERT_GE(map_, 0);
    program_ = load_redirect(map_);
    ASSERT_GE(program_, 0) << strerror(errno);
    ASSERT_EQ(bpf_xdp_attach(static_cast<int>(if_nametoindex("near")), program_, XDP_FLAGS_DRV_MODE, nullptr), 0);
    peer_ = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ethertype));
    sockaddr_ll at{};
    at.sll_family = AF_PACKET;
    at.sll_protocol = htons(ethertype);
    at.sll_ifindex = static_cast<int>(if_nametoindex("far"));
    ASSERT_EQ(bind(peer_, reinterpret_cast<sockaddr*>(&at), sizeof(at)), 0);
    const int room = 16 << 20;
    setsockopt(peer_, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
    setsockopt(peer_, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
  }

  void TearDown() override {
    for (const int fd : {peer_, program_, map_})
      if (fd >= 0) close(fd);
    if (inside_ && setns(outside_, CLONE_NEWNET) != 0) std::abort();  // what runs next would be in the wrong place
    if (outside_ >= 0) close(outside_);
  }

  static void run(const std::string& command) { ASSERT_EQ(std::system(command.c_str()), 0) << command; }

  std::unique_ptr<Socket> open_socket(const Socket::Options& options = {}) {
    auto s = std::make_unique<Socket>("near", 0, options);
    const uint32_t key = 0;
    const int fd = s->fd();
    EXPECT_EQ(bpf_map_update_elem(map_, &key, &fd, BPF_ANY), 0) << strerror(errno);
    return s;
  }

  void peer_sends(const Bytes& f) const { ASSERT_EQ(::send(peer_, f.data(), f.size(), 0), ssize_t(f.size())); }

  // The next frame at the other end; none after half a second of silence. What the peer itself sent is not counted.
  [[nodiscard]] std::optional<Bytes> peer_receives(int wait_ms = 500) const {
    for (;;) {
      pollfd p{peer_, POLLIN, 0};
      if (poll(&p, 1, wait_ms) <= 0) return std::nullopt;
      Bytes f(65536);
      sockaddr_ll from{};
      socklen_t length = sizeof(from);
      const ssize_t n = recvfrom(peer_, f.data(), f.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
      if (n < 0) return std::nullopt;
      if (from.sll_pkttype == PACKET_OUTGOING) continue;
      f.resize(static_cast<size_t>(n));
      return f;
    }
  }

  // Received frames, at most `most`, until that many have come or `wait_ms` have passed.
  static std::vector<Bytes> receive(Socket& s, size_t most, unsigned at_a_time = 32, int wait_ms = 500) {
    std::vector<Bytes> out;
    const auto take = [](void* context, Segment f) {
      static_cast<std::vector<Bytes>*>(context)->emplace_back(f.begin(), f.end());
    };
    const auto end = Clock::now() + milliseconds(wait_ms);
    while (out.size() < most && Clock::now() < end) {
      const size_t before = out.size();
      const unsigned n = s.receive(at_a_time, take, &out);
      EXPECT_EQ(out.size() - before, n);
      EXPECT_LE(n, at_a_time);
      if (n == 0) std::this_thread::sleep_for(milliseconds(1));
    }
    return out;
  }

  static bool send(Socket& s, const Bytes& f) {
    const Segment all(f);
    return s.send(&all, 1);
  }

  int outside_ = -1, map_ = -1, program_ = -1, peer_ = -1;
  bool inside_ = false;
};

TEST_F(SocketTest, ReceivesFramesByteForByte) {
  const auto s = open_socket();
  for (unsigned i = 0; i < 40; i++) peer_sends(frame(60 + i * 37, i));
  const auto got = receive(*s, 40);
  ASSERT_EQ(got.size(), 40u);
  for (unsigned i = 0; i < 40; i++) EXPECT_EQ(got[i], frame(60 + i * 37, i)) << i;
  EXPECT_EQ(s->missed(), 0u);
  EXPECT_FALSE(s->zero_copy());  // veth copies
}

TEST_F(SocketTest, SendsScatteredFrames) {
  const auto s = open_socket();
  const Bytes f = frame(1400, 3);
  const Segment all(f);
  for (const size_t cut : {size_t{1}, size_t{14}, size_t{1399}}) {
    const Segment parts[] = {all.first(cut), all.subspan(cut, 0), all.subspan(cut)};
    ASSERT_TRUE(s->send(parts, 3));
    s->flush();
    EXPECT_EQ(peer_receives(), f) << cut;
  }
}

TEST_F(SocketTest, CarriesJumboFramesBothWays) {
  const auto s = open_socket();
  ASSERT_EQ(s->largest_frame(), 9022u) << "the kernel has no frames of several buffers (Linux 6.6)";
  // 3,840 bytes are a receive buffer's, 4,096 a send buffer's.
  for (const size_t length : {3839u, 3840u, 3841u, 4096u, 4097u, 7680u, 7681u, 8000u, 8192u, 8193u, 9014u}) {
    const Bytes f = frame(length, 5);
    peer_sends(f);
    peer_sends(frame(64, 6));
    const auto got = receive(*s, 2, 1);  // one at a time: the pieces of a frame count once
    ASSERT_EQ(got.size(), 2u) << length;
    EXPECT_EQ(got[0], f) << length;
    EXPECT_EQ(got[1], frame(64, 6)) << length;
    const Segment all(f);
    const Segment parts[] = {all.first(54), all.subspan(54, 4050),
                             all.subspan(54).subspan(std::min<size_t>(4050, length - 54))};
    if (length >= 54 + 4050)
      ASSERT_TRUE(s->send(parts, 3)) << length;
    else
      ASSERT_TRUE(send(*s, f)) << length;
    s->flush();
    EXPECT_EQ(peer_receives(), f) << length;
  }
  EXPECT_EQ(s->missed(), 0u);
}

TEST_F(SocketTest, CanBeAwaited) {
  const auto s = open_socket();
  const auto readable = [&](int ms) {
    pollfd p{s->fd(), POLLIN, 0};
    return poll(&p, 1, ms) == 1;
  };
  EXPECT_FALSE(s->unsent());
  EXPECT_FALSE(readable(0));
  ASSERT_TRUE(send(*s, frame(100, 1)));
  EXPECT_TRUE(s->unsent());
  s->flush();
  EXPECT_FALSE(s->unsent());
  peer_sends(frame(64, 2));
  EXPECT_TRUE(readable(1000));
  ASSERT_EQ(receive(*s, 1).size(), 1u);
  EXPECT_FALSE(readable(0));
}

TEST_F(SocketTest, TakesNothingWhenTheSendRingIsFull) {
  const auto s = open_socket({64, 9022});  // 32 buffers to send
  for (unsigned i = 0; i < 30; i++) ASSERT_TRUE(send(*s, frame(100, i))) << i;
  EXPECT_FALSE(send(*s, frame(8193, 99))) << "needs three buffers, two are left";
  EXPECT_TRUE(send(*s, frame(8192, 30)));
  EXPECT_FALSE(send(*s, frame(60, 31)));
  s->flush();
  for (unsigned i = 0; i < 30; i++) ASSERT_EQ(peer_receives(), frame(100, i)) << i;
  EXPECT_EQ(peer_receives(), frame(8192, 30));
  EXPECT_EQ(peer_receives(50), std::nullopt) << "what was refused has been sent";
  // Sent behind the socket's back: the ring has room, and the buffers are to be had for the asking.
  for (unsigned i = 0; i < 32; i++) ASSERT_TRUE(send(*s, frame(100, i))) << i;
  while (sendto(s->fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0) != 0) ASSERT_EQ(errno, EAGAIN);
  EXPECT_TRUE(send(*s, frame(100, 32)));
  s->flush();
  for (unsigned i = 0; i <= 32; i++) ASSERT_EQ(peer_receives(), frame(100, i)) << i;
  // They come back: ten rings full.
  unsigned sent = 0, came = 0;
  for (unsigned i = 0; i < 320; i++) {
    if (!send(*s, frame(200, i))) {
      s->flush();
      if (!send(*s, frame(200, i))) continue;
    }
    sent++;
  }
  s->flush();
  while (peer_receives(50)) came++;
  EXPECT_EQ(sent, 320u);
  EXPECT_EQ(came, sent);
}

TEST_F(SocketTest, RefusesWhatNoBufferTakes) {
  const auto s = open_socket();
  EXPECT_FALSE(send(*s, frame(9023, 0)));
  EXPECT_FALSE(s->send(nullptr, 0));
  const auto narrow = std::make_unique<Socket>("near", 1, Socket::Options{64, 1522});
  EXPECT_EQ(narrow->largest_frame(), 1522u);
  EXPECT_TRUE(send(*narrow, frame(1522, 0)));
  EXPECT_FALSE(send(*narrow, frame(1523, 0)));
}

TEST_F(SocketTest, CountsWhatItHadNoRoomFor) {
  const auto s = open_socket({64, 9022});  // 32 buffers to receive
  for (unsigned i = 0; i < 50; i++) peer_sends(frame(100, i));
  std::this_thread::sleep_for(milliseconds(50));
  const auto got = receive(*s, 50, 64, 50);
  ASSERT_EQ(got.size(), 32u);
  for (unsigned i = 0; i < 32; i++) EXPECT_EQ(got[i], frame(100, i)) << i;
  EXPECT_EQ(s->missed(), 18u);
  // The buffers come back: ten rings full, nothing more is missed.
  for (unsigned i = 0; i < 320; i++) {
    peer_sends(frame(100 + i, i));
    const auto one = receive(*s, 1);
    ASSERT_EQ(one.size(), 1u) << i;
    ASSERT_EQ(one[0], frame(100 + i, i));
  }
  EXPECT_EQ(s->missed(), 18u);
}

TEST_F(SocketTest, DropsAndCountsFramesOverItsSize) {
  const auto pieces = open_socket({64, 5000});  // frames of two buffers
  peer_sends(frame(8000, 1));                   // of three
  peer_sends(frame(5000, 2));
  auto got = receive(*pieces, 2, 32, 100);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0], frame(5000, 2));
  EXPECT_EQ(pieces->missed(), 1u);
}

TEST_F(SocketTest, WithoutJumboFramesTheKernelCountsThem) {
  const auto s = open_socket({64, 1522});
  peer_sends(frame(8000, 1));
  peer_sends(frame(1514, 2));
  const auto got = receive(*s, 2, 32, 100);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0], frame(1514, 2));
  EXPECT_EQ(s->missed(), 1u);
}

TEST_F(SocketTest, WaitsForAQueueThatIsLetGo) {
  auto first = open_socket();
  std::thread away([&] {
    std::this_thread::sleep_for(milliseconds(300));
    first.reset();
  });
  const auto begin = Clock::now();
  const auto second = open_socket();
  EXPECT_GE(Clock::now() - begin, milliseconds(250));
  away.join();
  peer_sends(frame(100, 1));
  EXPECT_EQ(receive(*second, 1).size(), 1u);
}

TEST_F(SocketTest, SaysWhatIsWrong) {
  const auto message = [](auto make) -> std::string {
    try {
      make();
    } catch (const std::runtime_error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(message([] { Socket("nowhere", 0); }), "AF_XDP socket of nowhere: no such interface");
  EXPECT_EQ(message([] { Socket("near", 7); }),
            "AF_XDP socket of near, queue 7: Invalid argument, expected one of the interface's 2 receive queues");
  EXPECT_EQ(message([] {
              Socket("near", 0, Socket::Options{100, 1500});
            }),
            "AF_XDP socket of near: 100 frames, expected a power of two from 64 to 65536");
  const auto s = open_socket();
  EXPECT_EQ(message([] { Socket("near", 0); }),
            "AF_XDP socket of near, queue 0: Device or resource busy, expected a queue that no other process has an "
            "AF_XDP socket on (ss --xdp)");
}

TEST_F(SocketTest, CountsReceiveQueues) {
  EXPECT_EQ(receive_queues("near"), 2u);
  EXPECT_EQ(receive_queues("far"), 1u);
  EXPECT_EQ(receive_queues("lo"), 1u);
  EXPECT_EQ(receive_queues("nowhere"), 1u);
}

}  // namespace
}  // namespace teal::xdp
