// SPDX-License-Identifier: Apache-2.0
// One AF_XDP socket with packet memory (UMEM) of its own, bound to a receive queue of an interface: the road of frames
// that the XDP program leaves to user space, and a way out of an interface that stays with the kernel. It loads no
// program: the owner puts fd() into the program's XSKMAP.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace teal::xdp {

using Segment = std::span<const uint8_t>;

// Receive queues that the interface has in use, at least 1 (ethtool's channels: combined and receive ones).
unsigned receive_queues(const std::string& interface);

class Socket {
 public:
  struct Options {
    unsigned frames = 1024;         // of 4 KiB, half to receive and half to send; a power of two, 64 to 65,536
    unsigned largest_frame = 9022;  // bytes; over 3,840 asks the kernel for frames of several buffers (Linux 6.6)
  };

  // Called with each received frame; the bytes are valid during the call.
  using Take = void (*)(void* context, Segment frame);

  // Binds; the kernel chooses between zero-copy and copy mode. All receive buffers are the kernel's when it returns. A
  // queue that another socket holds is tried again for two seconds: the kernel lets go of a dead process's socket a
  // little late. Throws std::runtime_error with one sentence: interface, queue, what the kernel said, what to do.
  Socket(const std::string& interface, unsigned queue, const Options& options);
  Socket(const std::string& interface, unsigned queue) : Socket(interface, queue, Options{}) {}
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  [[nodiscard]] int fd() const;  // for the XSKMAP
  [[nodiscard]] const std::string& interface() const { return interface_; }
  [[nodiscard]] unsigned queue() const { return queue_; }
  [[nodiscard]] bool zero_copy() const;
  [[nodiscard]] unsigned largest_frame() const { return largest_frame_; }  // bytes; less than asked for on Linux < 6.6

  // receive, send, flush and unsent are called by one thread only. They neither throw nor allocate.

  // Hands over at most `max` frames, oldest first, and gives their buffers back to the kernel. How many. Calls the
  // kernel only where the driver waits for buffers.
  unsigned receive(unsigned max, Take take, void* context);

  // Takes the frame that the segments make up, one after the other; it leaves at the next flush. False, and nothing
  // taken: no room in the ring (after flush there may be), or longer than largest_frame().
  bool send(const Segment* segments, unsigned count);

  // Makes the kernel look at what was sent, where it waits to be told, and takes back the buffers that it is done with.
  void flush();

  // Whether frames still wait that the last flush left: the next one tries again.
  [[nodiscard]] bool unsent() const;

  // Frames for this socket that the kernel or the socket dropped: ring full, no buffer, too large. Any thread.
  [[nodiscard]] uint64_t missed() const;

 private:
  struct Rings;
  void open(const Options& options);
  int bind(const Options& options, uint16_t flags);
  void give_back();
  void reap();
  [[noreturn]] void fail(int error) const;

  std::string interface_;
  unsigned queue_;
  unsigned largest_frame_;
  std::unique_ptr<Rings> rings_;
  std::atomic<uint64_t> too_large_ = 0;
};

}  // namespace teal::xdp
