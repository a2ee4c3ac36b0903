// SPDX-License-Identifier: Apache-2.0
// teal-worker-bench: what a packet costs a DPDK worker, from received to sent, net of the same loop without teal's
// stages.
#include <algorithm>
#include <boost/program_options.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "worker_beside.h"
#include "worker_lane.h"
#include "worker_scaling.h"
#include "worker_subjects.h"
#include "yardstick.h"

namespace teal::perf {
namespace {

namespace po = boost::program_options;

struct Options {
  std::vector<uint32_t> flows{1'000, 100'000, 1'000'000, 16'000'000}, services{100, 1000}, backends{100, 1000};
  uint32_t rounds = 9, packets = 1 << 18, load = 50;
  double packets_per_s = 10e6, churn_per_s = 10e6;
  uint32_t churn_s = 60;  // of the flows' clock
  std::string only, json;
};

struct Row {
  WorkerSubject subject;
  std::vector<double> net, raw, floor;  // cycles a packet, by round
  std::vector<double> model;            // net, of Model; empty where it cannot stand in
};

bool has_model(const WorkerSubject& s) {
  const Traffic& t = s.traffic;
  return s.shape.services == 1 && s.shape.backends <= 4 && s.shape.family == 4 &&
         s.shape.forward != model::Forward::l2dsr && t.reply_percent == 0 && t.syn_percent == 0 &&
         t.pick == Pick::uniform && t.sizes == Sizes::least && t.burst == dataplane::burst;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

const char* forward_name(model::Forward f) {
  return f == model::Forward::nat ? "nat" : f == model::Forward::ipip ? "ipip" : "l2dsr";
}

// All rows of one table; they alternate, each right before its own floor.
void measure(std::vector<Row*> rows, const Options& o, std::vector<double>& yardstick) {
  const uint32_t flows = rows.front()->subject.traffic.flows;
  const uint64_t room = uint64_t{flows} * 80 / o.load;  // Storage makes buckets for a load of 0.8
  BenchWorld world(rows.front()->subject.shape, std::max<uint64_t>(room, 4 * o.packets));
  world.enter(0, flows, world.storage().now());
  if (world.shape().settled) world.settle();
  Lane lane(world, 0);
  std::vector<std::unique_ptr<Source>> sources;
  for (const Row* row : rows)
    sources.push_back(std::make_unique<Source>(world, row->subject.traffic, lane.pool(), flows));
  std::unique_ptr<Model> bare;
  if (std::any_of(rows.begin(), rows.end(), [](const Row* row) { return has_model(row->subject); }))
    bare = std::make_unique<Model>(world, flows, o.load);
  for (uint32_t round = 0; round <= o.rounds; round++) {
    if (round > 0) yardstick.push_back(yardstick_cycles());
    for (size_t i = 0; i < rows.size(); i++) {
      const Traffic& traffic = rows[i]->subject.traffic;
      const double raw = lane.forward(*sources[i], traffic, o.packets, o.packets_per_s).cycles;
      lane.forget(flows, sources[i]->fresh());
      sources[i]->set_fresh(flows);
      const double floor = lane.floor(*sources[i], traffic, o.packets).cycles;
      sources[i]->set_fresh(flows);
      const double model =
          has_model(rows[i]->subject) ? lane.floor(*sources[i], traffic, o.packets, bare.get()).cycles : 0;
      if (round == 0) continue;  // warms up
      if (model > 0) rows[i]->model.push_back(model - floor);
      rows[i]->raw.push_back(raw);
      rows[i]->floor.push_back(floor);
      rows[i]->net.push_back(raw - floor);
    }
  }
}

nlohmann::json report(const std::vector<Row>& rows) {
  nlohmann::json out = nlohmann::json::array();
  std::fprintf(stderr, "%-22s %-3s %9s %8s %8s %5s %4s  %8s %8s %8s %8s %8s\n", "cycles a packet", "IP", "flows",
               "services", "backends", "burst", "SYN", "net", "least", "most", "floor", "model");
  for (const Row& row : rows) {
    const auto& [name, shape, traffic] = row.subject;
    const auto [least, most] = std::minmax_element(row.net.begin(), row.net.end());
    char bare[16] = "-";
    if (!row.model.empty()) std::snprintf(bare, sizeof(bare), "%.1f", median(row.model));
    std::fprintf(stderr, "%-22s %-3d %9u %8u %8u %5u %4u  %8.1f %8.1f %8.1f %8.1f %8s\n", name.c_str(), shape.family,
                 traffic.flows, shape.services, shape.backends, traffic.burst, traffic.syn_percent, median(row.net),
                 *least, *most, median(row.floor), bare);
    out.push_back({{"subject", name},
                   {"forward", forward_name(shape.forward)},
                   {"ip", shape.family},
                   {"flows", traffic.flows},
                   {"services", shape.services},
                   {"backends", shape.backends},
                   {"burst", traffic.burst},
                   {"syn_percent", traffic.syn_percent},
                   {"net_cycles", row.net},
                   {"raw_cycles", row.raw},
                   {"floor_cycles", row.floor}});
    if (!row.model.empty()) out.back()["model_cycles"] = row.model;  // net
  }
  return out;
}

Options read(int argc, char** argv) {
  Options o;
  po::options_description d("teal-worker-bench: what a packet costs a DPDK worker");
  d.add_options()("help", "this")("quick", "up to a million flows, 3 rounds, 65,536 packets a round")(
      "only", po::value(&o.only)->value_name("WORD"),
      "only subjects whose name contains WORD; scaling, beside: that alone")(
      "rounds", po::value<uint32_t>()->value_name("N"), "rounds; subjects alternate within one (9)")(
      "flows", po::value<std::vector<uint32_t>>()->multitoken()->value_name("N..."),
      "rising numbers of flows (1000 100000 1000000 16000000)")("packets", po::value<uint32_t>()->value_name("N"),
                                                                "packets a round (262144)")(
      "load", po::value(&o.load)->value_name("PERCENT"), "of the table's slots (50)")(
      "rate", po::value(&o.packets_per_s)->value_name("N"), "packets a second, for the stages' clock (1e7)")(
      "churn", po::value<uint32_t>()->value_name("S"),
      "seconds of the flows' clock that SYNs and a sweep go on for, at 10 million a second (60)")(
      "json", po::value(&o.json)->value_name("FILE"), "every round's figures");
  po::variables_map v;
  po::store(po::parse_command_line(argc, argv, d), v);
  po::notify(v);
  if (v.count("help")) {
    std::cout << d;
    std::exit(0);
  }
  if (v.count("quick")) {
    o.flows = {1'000, 100'000, 1'000'000};
    o.rounds = 3;
    o.packets = 1 << 16;
    o.churn_per_s = 500e3;
    o.churn_s = 6;
  }
  if (v.count("churn")) o.churn_s = std::max(1u, v["churn"].as<uint32_t>());
  if (v.count("rounds")) o.rounds = v["rounds"].as<uint32_t>();
  if (v.count("packets")) o.packets = v["packets"].as<uint32_t>();
  if (v.count("flows")) o.flows = v["flows"].as<std::vector<uint32_t>>();
  if (o.rounds == 0 || o.packets == 0) throw std::runtime_error("--rounds or --packets 0, expected at least 1");
  if (o.load == 0 || o.load > 80) throw std::runtime_error("--load " + std::to_string(o.load) + ", expected 1 to 80");
  for (size_t i = 0; i < o.flows.size(); i++)
    if (o.flows[i] == 0 || (i > 0 && o.flows[i] <= o.flows[i - 1]))
      throw std::runtime_error("--flows " + std::to_string(o.flows[i]) + ", expected rising numbers above 0");
  return o;
}

int main(int argc, char** argv) {
  const Options o = read(argc, argv);
  const bool two = std::thread::hardware_concurrency() > 1;
  start_dpdk(two ? 2 : 1);
  std::vector<Row> rows;
  for (auto& s : worker_subjects(o.flows, o.services, o.backends))
    if (s.name.find(o.only) != std::string::npos) rows.push_back({std::move(s), {}, {}, {}, {}});
  if (rows.empty() && o.only != "scaling" && o.only != "beside")
    throw std::runtime_error("--only " + o.only + ": no subject has that in its name");
  std::vector<double> yardstick;
  std::vector<char> done(rows.size());
  for (size_t i = 0; i < rows.size(); i++) {
    if (done[i]) continue;
    std::vector<Row*> group;
    for (size_t j = i; j < rows.size(); j++)
      if (rows[j].subject.shape == rows[i].subject.shape &&
          rows[j].subject.traffic.flows == rows[i].subject.traffic.flows) {
        group.push_back(&rows[j]);
        done[j] = 1;
      }
    measure(group, o, yardstick);
    std::cerr << "." << std::flush;
  }
  std::cerr << "\n";
  nlohmann::json scaling = nlohmann::json::array();
  if (two && (o.only.empty() || o.only == "scaling"))
    for (const ScalingRow& row :
         measure_scaling({o.flows.front(), o.flows[(o.flows.size() - 1) / 2]}, o.rounds, o.packets, o.packets_per_s)) {
      std::fprintf(stderr, "two workers, %s, %u flows: %.2f times one\n", row.subject.c_str(), row.flows,
                   median(row.speedup));
      scaling.push_back({{"subject", row.subject}, {"flows", row.flows}, {"speedup", row.speedup}});
    }
  nlohmann::json beside;
  if (two && (o.only.empty() || o.only == "beside")) {
    const uint32_t flows = o.flows.back();
    const SweepBeside percent = measure_sweep_beside(flows, o.rounds, o.packets, o.packets_per_s);
    const Churn churn = measure_churn(o.churn_per_s, o.churn_s, tsc_per_ns());
    std::fprintf(stderr, "a sweep of %u flows beside it: a packet costs %.1f %% more; with teald's pauses %.1f %%\n",
                 flows, median(percent.without_pauses), median(percent.as_teald));
    std::fprintf(
        stderr, "new flows, deleted by a sweep: %.2f M/s (slowest window %.2f), at most %llu entries, %llu untracked\n",
        median(churn.mflows_per_s), *std::min_element(churn.mflows_per_s.begin(), churn.mflows_per_s.end()),
        static_cast<unsigned long long>(churn.most_entries), static_cast<unsigned long long>(churn.untracked));
    beside = {{"sweep_flows", flows},
              {"sweep_percent", percent.without_pauses},
              {"paced_sweep_percent", percent.as_teald},
              {"churn_clock_per_s", o.churn_per_s},
              {"churn_mflows_per_s", churn.mflows_per_s},
              {"churn_untracked", churn.untracked}};
  }
  nlohmann::json out = {{"tsc_per_ns", tsc_per_ns()},    {"load_percent", o.load},
                        {"packets_a_round", o.packets},  {"yardstick_cycles", yardstick},
                        {"scaling", std::move(scaling)}, {"beside", std::move(beside)},
                        {"rows", report(rows)}};
  if (!o.json.empty()) std::ofstream(o.json) << out.dump(1) << "\n";
  return 0;
}

}  // namespace
}  // namespace teal::perf

int main(int argc, char** argv) {
  try {
    return teal::perf::main(argc, argv);
  } catch (const std::exception& e) {
    std::cerr << "teal-worker-bench: " << e.what() << "\n";
    return 1;
  }
}
