// SPDX-License-Identifier: Apache-2.0
// Seeded random sequences through both engines, compared after every step. A sequence that tells them apart is made
// short and written as a case file, which --replay plays, and teal-cases too when it lies in tests/cases.
#include <boost/program_options.hpp>
#include <fstream>
#include <iostream>

#include "cases/case_file.h"
#include "cases/pair.h"
#include "engines/dpdk_engine.h"
#include "engines/xdp_engine.h"

namespace teal::tests {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;
namespace po = boost::program_options;

constexpr uint64_t sequences_a_layout = 5;  // ports of another kind: the program is loaded anew
constexpr auto shrink_time = std::chrono::seconds(40);

json as_json(const Step& step) {
  if (!step.control.is_null()) return step.control;
  return {{"port", step.port}, {"send", {hex_of(step.frame)}}, {"sound", step.sound}};
}

Step from_json(const json& j) {
  Step step;
  if (!j.contains("send")) {
    step.control = j;
    return step;
  }
  step.port = j.at("port");
  step.frame = bytes_of(j["send"].at(0));
  step.sound = j.value("sound", false);
  return step;
}

struct Options {
  uint64_t packets = 200'000, seed = 1;
  std::string replay, out;
};

int replay(const std::string& file) {
  int failures = 0;
  for (const Case& c : read_case_file(file)) {
    std::vector<Step> steps;
    for (const json& j : c.steps) steps.push_back(from_json(j));
    const auto failure = first_failure(c.head, steps);
    std::cout << c.name << ": ";
    if (!failure) {
      std::cout << "the engines agree in all of " << steps.size() << " steps\n";
      continue;
    }
    failures++;
    std::cout << "step " << failure->at + 1 << " of " << steps.size() << ", line "
              << static_cast<size_t>(c.line) + failure->at + 1 << ":\n"
              << failure->text;
  }
  return failures == 0 ? 0 : 1;
}

int report(const Options& options, const std::string& program, uint64_t seed, const json& head, std::vector<Step> steps,
           const std::string& text) {
  std::cout << "FAILED after step " << steps.size() << " of the sequence of seed " << seed << ":\n"
            << text << std::endl;
  steps = shrink(head, std::move(steps), shrink_time);
  json first = head;
  first["case"] = "differential/" + std::to_string(seed);
  first["agree"] = true;
  const std::string file = options.out + "/differential-" + std::to_string(seed) + ".jsonl";
  std::ofstream out(file);
  out << first.dump() << '\n';
  for (const Step& step : steps) out << as_json(step).dump() << '\n';
  out.close();
  std::cout << "made short: " << steps.size() << " steps, in " << file;
  if (const auto failure = first_failure(head, steps)) std::cout << "; the last of them:\n" << failure->text;
  std::cout << "\nreplay: " << program << " --replay " << file << "\nagain:  " << program << " --seed " << seed
            << " --packets 1\n";
  return 1;
}

// What the sequences brought about.
struct Seen {
  Counts sum;                               // without services and backends
  std::map<std::string, uint64_t> signals;  // of all services, pools and generations
  uint64_t affinity = 0;                    // entries at the ends

  void add(const Pair& pair) {
    const Counts counts = pair.counts();
    for (size_t i = 0; i < sum.drop.size(); i++) sum.drop[i] += counts.drop[i];
    for (size_t i = 0; i < sum.event.size(); i++) sum.event[i] += counts.event[i];
    for (size_t s = 0; s < counts.signals.size(); s++)
      for (size_t i = 0; i < signals_per_service; i++)
        for (const auto& [name, n] : named_signals(counts, s, i)) signals["signal." + name] += n;
    affinity += pair.affinity_entries();
  }
};

// That, and what they never did.
void tell(const Seen& all) {
  const Counts& sum = all.sum;
  std::string seen, never;
  const auto add = [&](const char* name, uint64_t n) {
    (n ? seen : never) += std::string(" ") + name + (n ? "=" + std::to_string(n) : "");
  };
#define X(name, text) add("drop." #name, sum.drop[TEAL_DROP_##name]);
  TEAL_DROP_REASONS(X)
#undef X
#define X(name, text) add(#name, sum.event[TEAL_EV_##name]);
  TEAL_EVENTS(X)
#undef X
  for (const auto& [name, n] : all.signals) add(name.c_str(), n);
  add("affinity entries at the end", all.affinity);
  std::cout << "seen:" << seen << "\nnever:" << never << '\n';
}

int run(const Options& options, const std::string& program) {
  const auto begin = Clock::now();
  Seen seen;
  uint64_t packets = 0, sequences = 0;
  for (uint64_t seed = options.seed; packets < options.packets; seed++, sequences++) {
    Generator generator(seed, static_cast<Layout>(seed / sequences_a_layout % layouts));
    json head = generator.head();
    head["seed"] = seed;
    std::optional<Pair> pair(head);
    std::vector<Step> steps;
    std::string wrong;
    while (wrong.empty() && steps.size() < generator.steps()) {
      steps.push_back(generator.next());
      packets += steps.back().control.is_null();
      wrong = pair->step(steps.back());
    }
    seen.add(*pair);
    if (wrong.empty()) wrong = pair->end();
    pair.reset();  // one at a time
    if (!wrong.empty()) return report(options, program, seed, head, std::move(steps), wrong);
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  tell(seen);
  std::cout << packets << " packets in " << sequences << " sequences from seed " << options.seed
            << ": the engines agree (" << static_cast<uint64_t>(seconds) << " s, "
            << static_cast<uint64_t>(static_cast<double>(packets) / seconds) << " packets/s)\n";
  return 0;
}

}  // namespace
}  // namespace teal::tests

int main(int argc, char** argv) {
  using namespace teal::tests;
  Options options;
  po::options_description known("teal-differential");
  known.add_options()("help", "this text")("packets", po::value(&options.packets)->default_value(options.packets),
                                           "how many")("seed", po::value(&options.seed)->default_value(options.seed),
                                                       "of the first sequence; the next ones count up")(
      "replay", po::value(&options.replay), "plays a case file that a failure has left")(
      "out", po::value(&options.out)->default_value("."), "directory for the case file of a failure");
  po::variables_map values;
  try {
    po::store(po::parse_command_line(argc, argv, known), values);
    po::notify(values);
    if (values.count("help")) {
      std::cout << known;
      return 0;
    }
    if (const std::string why = start_xdp(); !why.empty()) {
      std::cout << "SKIPPED: the engines are not compared: " << why << '\n';
      return 77;
    }
    start_dpdk();
    const int result = options.replay.empty() ? run(options, argv[0]) : replay(options.replay);
    stop_xdp();
    return result;
  } catch (const std::exception& e) {
    std::cerr << "teal-differential: " << e.what() << '\n';
    return 2;
  }
}
