// SPDX-License-Identifier: Apache-2.0
#include "xdp/socket.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xdp/xsk.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <vector>

namespace teal::xdp {
namespace {

// Linux 6.6; Debian 12's headers are older.
constexpr uint16_t use_sg = 1u << 4;         // XDP_USE_SG: frames may take several buffers
constexpr uint32_t continued = 1u << 0;      // XDP_PKT_CONTD: the frame goes on in the next descriptor
constexpr unsigned buffer_bytes = 4096;      // XSK_UMEM__DEFAULT_FRAME_SIZE
constexpr unsigned one_buffer = 4096 - 256;  // the kernel keeps 256 bytes of a receive buffer (XDP_PACKET_HEADROOM)
constexpr uint64_t buffer_mask = ~uint64_t{buffer_bytes - 1};

bool ethtool(const std::string& interface, void* request) {
  if (interface.size() >= IFNAMSIZ) return false;
  ifreq r{};
  std::memcpy(r.ifr_name, interface.data(), interface.size());
  r.ifr_data = static_cast<char*>(request);
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool ok = ioctl(fd, SIOCETHTOOL, &r) == 0;
  close(fd);
  return ok;
}

}  // namespace

unsigned receive_queues(const std::string& interface) {
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  if (ethtool(interface, &channels) && channels.combined_count + channels.rx_count > 0)
    return channels.combined_count + channels.rx_count;
  // A driver that does not say. sysfs shows the interfaces of the namespace that it was mounted in, perhaps another's.
  const std::filesystem::path directory = "/sys/class/net/" + interface;
  unsigned ifindex = 0, queues = 0;
  std::ifstream(directory / "ifindex") >> ifindex;
  if (ifindex == 0 || ifindex != if_nametoindex(interface.c_str())) return 1;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(directory / "queues", none))
    if (entry.path().filename().string().starts_with("rx-")) queues++;
  return std::max(queues, 1u);
}

struct Socket::Rings {
  uint8_t* area = nullptr;
  size_t area_bytes = 0;
  xsk_umem* umem = nullptr;
  xsk_socket* socket = nullptr;
  xsk_ring_prod fill{}, tx{};
  xsk_ring_cons completed{}, rx{};

  std::vector<uint64_t> spare;  // receive buffers that wait for room in the fill ring
  size_t spares = 0;
  std::vector<uint64_t> free;  // send buffers
  size_t frees = 0;
  std::vector<uint8_t> whole;  // a frame of several buffers, as far as it has come
  size_t come = 0;
  bool partial = false, too_large = false;

  explicit Rings(unsigned frames, unsigned largest)
      : area_bytes(size_t{frames} * buffer_bytes), spare(frames / 2), free(frames / 2), whole(largest) {}
  ~Rings() {
    close();
    if (area != nullptr) munmap(area, area_bytes);
  }
  Rings(const Rings&) = delete;
  Rings& operator=(const Rings&) = delete;

  void close() {
    if (socket != nullptr) xsk_socket__delete(socket);
    if (umem != nullptr) xsk_umem__delete(umem);
    socket = nullptr;
    umem = nullptr;
    fill = tx = {};  // libxdp expects them zero
    completed = rx = {};
  }
};

Socket::Socket(const std::string& interface, unsigned queue, const Options& options)
    : interface_(interface), queue_(queue), largest_frame_(options.largest_frame) {
  if (options.frames < 64 || options.frames > 65536 || (options.frames & (options.frames - 1)) != 0)
    throw std::runtime_error("AF_XDP socket of " + interface_ + ": " + std::to_string(options.frames) +
                             " frames, expected a power of two from 64 to 65536");
  open(options);
}

Socket::~Socket() = default;

void Socket::open(const Options& options) {
  rings_ = std::make_unique<Rings>(options.frames, options.largest_frame);
  void* area =
      mmap(nullptr, rings_->area_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (area == MAP_FAILED) fail(errno);
  rings_->area = static_cast<uint8_t*>(area);

  // Only where frames need it: a driver without it in zero-copy mode falls back to copying.
  uint16_t flags = XDP_USE_NEED_WAKEUP;
  if (options.largest_frame > one_buffer) flags |= use_sg;
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  for (;;) {
    const int error = bind(options, flags);
    if (error == 0) break;
    if (error == EINVAL && (flags & use_sg) != 0) {
      flags &= static_cast<uint16_t>(~use_sg);
    } else if (error == EBUSY && std::chrono::steady_clock::now() < patience) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    } else {
      fail(error);
    }
  }
  if ((flags & use_sg) == 0) largest_frame_ = std::min(largest_frame_, one_buffer);

  // What waits on the way out counts against this; the ring is the bound that we mean. Forced: CAP_NET_ADMIN.
  const int room = static_cast<int>(std::min<size_t>(rings_->area_bytes, 64u << 20));
  if (setsockopt(fd(), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) != 0)
    setsockopt(fd(), SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
}

// Packet memory, rings and socket, new at each try: a failed bind leaves the old ones half used. 0 or errno.
int Socket::bind(const Options& options, uint16_t flags) {
  Rings& r = *rings_;
  r.close();
  const unsigned half = options.frames / 2;
  xsk_umem_config memory{};
  memory.fill_size = half;
  memory.comp_size = half;
  memory.frame_size = buffer_bytes;
  if (const int e = xsk_umem__create(&r.umem, r.area, r.area_bytes, &r.fill, &r.completed, &memory); e != 0) {
    r.umem = nullptr;
    return -e;
  }
  // Before the socket exists: the first frame finds buffers, and drivers in zero-copy mode take theirs at the bind.
  r.spares = r.frees = half;
  for (unsigned i = 0; i < half; i++) {
    r.spare[i] = uint64_t{i} * buffer_bytes;
    r.free[i] = uint64_t{half + i} * buffer_bytes;
  }
  give_back();

  xsk_socket_config config{};
  config.rx_size = half;
  config.tx_size = half;
  config.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD;
  config.bind_flags = flags;
  const int e = xsk_socket__create(&r.socket, interface_.c_str(), queue_, r.umem, &r.rx, &r.tx, &config);
  if (e != 0) r.socket = nullptr;
  return -e;
}

void Socket::fail(int error) const {
  std::string what = "AF_XDP socket of " + interface_ + ", queue " + std::to_string(queue_) + ": " + strerror(error);
  switch (error) {
    case EPERM:
      what += ", expected CAP_NET_RAW and CAP_NET_ADMIN";
      break;
    case ENOBUFS:
    case ENOMEM:
      what += ", expected " + std::to_string(rings_->area_bytes >> 10) +
              " KiB of lockable memory (CAP_IPC_LOCK, or a higher limit: ulimit -l, LimitMEMLOCK=)";
      break;
    case ENODEV:
    case ENXIO:
      what = "AF_XDP socket of " + interface_ + ": no such interface";
      break;
    case EINVAL:
      what += ", expected one of the interface's " + std::to_string(receive_queues(interface_)) + " receive queues";
      break;
    case EBUSY:
      what += ", expected a queue that no other process has an AF_XDP socket on (ss --xdp)";
      break;
    case ENETDOWN:
      what += ", expected the interface to be up (ip link set " + interface_ + " up)";
      break;
    case EAFNOSUPPORT:
      what += ", expected a kernel with AF_XDP (CONFIG_XDP_SOCKETS)";
      break;
    default:
      break;
  }
  throw std::runtime_error(what);
}

int Socket::fd() const {
  return xsk_socket__fd(rings_->socket);
}

bool Socket::zero_copy() const {
  xdp_options options{};
  socklen_t length = sizeof(options);
  return getsockopt(fd(), SOL_XDP, XDP_OPTIONS, &options, &length) == 0 && (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
}

uint64_t Socket::missed() const {
  xdp_statistics s{};
  socklen_t length = sizeof(s);
  if (getsockopt(fd(), SOL_XDP, XDP_STATISTICS, &s, &length) != 0) s = {};
  return s.rx_dropped + s.rx_ring_full + too_large_.load(std::memory_order_relaxed);
}

// As many receive buffers as the fill ring has room for: the kernel says late which of them it has taken.
void Socket::give_back() {
  Rings& r = *rings_;
  const auto n =
      static_cast<unsigned>(std::min<size_t>(r.spares, xsk_prod_nb_free(&r.fill, static_cast<unsigned>(r.spares))));
  uint32_t index = 0;
  if (n == 0 || xsk_ring_prod__reserve(&r.fill, n, &index) != n) return;
  for (unsigned i = 0; i < n; i++) *xsk_ring_prod__fill_addr(&r.fill, index + i) = r.spare[--r.spares];
  xsk_ring_prod__submit(&r.fill, n);
}

unsigned Socket::receive(unsigned max, Take take, void* context) {
  Rings& r = *rings_;
  unsigned frames = 0, descriptors = 0;
  uint32_t index = 0;
  while (frames < max && xsk_ring_cons__peek(&r.rx, 1, &index) == 1) {
    const xdp_desc d = *xsk_ring_cons__rx_desc(&r.rx, index);
    const uint8_t* bytes = r.area + d.addr;
    r.spare[r.spares++] = d.addr & buffer_mask;  // given back below, when its bytes have been read
    descriptors++;
    const bool last = (d.options & continued) == 0;
    if (last && !r.partial) {
      take(context, {bytes, d.len});
      frames++;
      continue;
    }
    r.partial = !last;
    if (r.too_large || d.len > r.whole.size() - r.come) {
      r.too_large = true;
    } else {
      std::memcpy(r.whole.data() + r.come, bytes, d.len);
      r.come += d.len;
    }
    if (!last) continue;
    if (r.too_large) {
      too_large_.fetch_add(1, std::memory_order_relaxed);
    } else {
      take(context, {r.whole.data(), r.come});
      frames++;
    }
    r.come = 0;
    r.too_large = false;
  }
  if (descriptors != 0) xsk_ring_cons__release(&r.rx, descriptors);
  if (r.spares != 0) give_back();
  // Set by drivers that ran out of buffers and stopped looking for more.
  if (xsk_ring_prod__needs_wakeup(&r.fill)) recvfrom(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
  return frames;
}

void Socket::reap() {
  Rings& r = *rings_;
  uint32_t index = 0;
  const unsigned n = xsk_ring_cons__peek(&r.completed, static_cast<unsigned>(r.free.size()), &index);
  if (n == 0) return;
  for (unsigned i = 0; i < n; i++) r.free[r.frees++] = *xsk_ring_cons__comp_addr(&r.completed, index + i) & buffer_mask;
  xsk_ring_cons__release(&r.completed, n);
}

bool Socket::send(const Segment* segments, unsigned count) {
  Rings& r = *rings_;
  size_t length = 0;
  for (unsigned i = 0; i < count; i++) length += segments[i].size();
  if (length == 0 || length > largest_frame_) return false;
  const auto buffers = static_cast<unsigned>((length + buffer_bytes - 1) / buffer_bytes);
  if (r.frees < buffers) reap();
  uint32_t index = 0;
  if (r.frees < buffers || xsk_ring_prod__reserve(&r.tx, buffers, &index) != buffers) return false;

  unsigned segment = 0;
  size_t offset = 0;
  for (unsigned b = 0; b < buffers; b++) {
    xdp_desc* d = xsk_ring_prod__tx_desc(&r.tx, index + b);
    d->addr = r.free[--r.frees];
    d->len = static_cast<uint32_t>(std::min<size_t>(length, buffer_bytes));
    d->options = b + 1 < buffers ? continued : 0;
    length -= d->len;
    uint8_t* to = r.area + d->addr;
    for (size_t left = d->len; left != 0;) {
      const size_t n = std::min(left, segments[segment].size() - offset);
      std::memcpy(to, segments[segment].data() + offset, n);
      to += n;
      left -= n;
      offset += n;
      if (offset == segments[segment].size()) {
        segment++;
        offset = 0;
      }
    }
  }
  xsk_ring_prod__submit(&r.tx, buffers);
  return true;
}

bool Socket::unsent() const {
  const Rings& r = *rings_;
  return __atomic_load_n(r.tx.consumer, __ATOMIC_ACQUIRE) != *r.tx.producer;
}

void Socket::flush() {
  Rings& r = *rings_;
  if (r.frees == r.free.size()) return;  // nothing is under way
  const auto taken = [&] { return __atomic_load_n(r.tx.consumer, __ATOMIC_ACQUIRE); };
  // In copy mode a call sends some 32 frames, then says EAGAIN, as it does when it can send nothing. Before Linux 6.17
  // it does not tell these apart at once: two calls without progress end it, the rest leaves at the next flush.
  unsigned idle = 0;
  for (uint32_t before = taken(); before != *r.tx.producer && xsk_ring_prod__needs_wakeup(&r.tx) && idle < 2;) {
    sendto(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0);
    const uint32_t after = taken();
    idle = after == before ? idle + 1 : 0;
    before = after;
  }
  reap();
}

}  // namespace teal::xdp
