// SPDX-License-Identifier: Apache-2.0
// One figure of teal-xdp-bench: a subject, measured through the wrapper, and right after it once more with a stub in
// the subject's place.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "xdp_bench_subject.h"
#include "xdp_world.h"

namespace teal::perf {

struct Sample {
  double floor_ns = 0;  // wrapper and stub; 0 for a program without wrapper
  double raw_ns = 0;    // wrapper and subject
  [[nodiscard]] double net_ns() const { return raw_ns - floor_ns; }
};

class Runner {
 public:
  // `flows`: of all that is measured by this runner. `repeat`: packets a run, at least. Publishes nothing: the world
  // serves the subjects' services already.
  Runner(XdpWorld& world, uint32_t flows, uint32_t repeat);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Throws std::runtime_error when the packets did not become what the subject is about.
  Sample measure(const Subject& subject);
  // Puts the subject's program and packets in place and repeats them, some milliseconds a call.
  void prepare(const Subject& subject);
  void keep_running(const Subject& subject) { run(wrapper(subject), subject, 20'000); }

 private:
  struct Counts {
    uint64_t sent, forwarded, replies, fresh, kernel, broken, missed;
  };
  [[nodiscard]] Counts counts() const;
  void require(const Subject& subject, const Counts& before, uint64_t packets) const;
  void fill_lru();
  void populate(const Subject& subject);
  void plan_for(const Subject& subject);
  void put_under_test(int program);
  [[nodiscard]] int wrapper(const Subject& subject) const;
  [[nodiscard]] int program(const Subject& subject) const;
  double run(int program, const Subject& subject, uint32_t packets);
  double run_all(const Subject& subject, bool real);
  [[nodiscard]] const std::vector<uint16_t>& services(const Subject& subject);
  [[nodiscard]] teal_flow_key key_of(const Subject& subject, uint32_t flow);

  XdpWorld& world_;
  uint32_t flows_, repeat_;
  TestObject object_;
  Shared<bench_plan> plan_;
  int teal_;
  std::vector<int> links_;
  std::string populated_;                                  // the first service whose flows the table holds
  std::map<std::string, std::vector<uint16_t>> services_;  // numbers, by the first service's name
};

}  // namespace teal::perf
