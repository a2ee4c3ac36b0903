// SPDX-License-Identifier: Apache-2.0
// teald: reads the configuration, wires the rooms together, and runs the control thread. With fast_path.cc, which does
// it for xdp ports, the only file that knows everyone.
//
// Exit codes: 0 stopped as asked; 1 could not start or failed; 2 usage; 3 the configuration has errors.
#include <malloc.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/program_options.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <iostream>

#include "control/balancer.h"
#include "control/server.h"
#include "dataplane/engine.h"
#include "fast_path.h"
#include "flow/storage.h"
#include "flow/table.h"
#include "host/netlink.h"
#include "host/notify.h"
#include "model/config_file.h"
#include "model/preview.h"
#include "releases.h"
#include "telemetry/audit.h"

namespace {

namespace asio = boost::asio;
namespace po = boost::program_options;
using namespace teal;

constexpr int exit_ok = 0, exit_failed = 1, exit_usage = 2, exit_config = 3;

// Keeps an asynchronous wait on a descriptor going: `ready` is called each time it becomes readable.
void watch(asio::posix::stream_descriptor& fd, const std::function<void()>& ready) {
  fd.async_wait(asio::posix::stream_descriptor::wait_read, [&fd, ready](const boost::system::error_code& e) {
    if (e) return;
    ready();
    watch(fd, ready);
  });
}

void every(asio::steady_timer& timer, std::chrono::milliseconds period, const std::function<void()>& work) {
  timer.expires_after(period);
  timer.async_wait([&timer, period, work](const boost::system::error_code& e) {
    if (e) return;
    work();
    every(timer, period, work);
  });
}

// Gives the ports' interfaces the addresses of the configuration, and the VIPs, so that the kernel answers for them.
// FastPath has brought those of xdp ports up.
void set_addresses(host::Netlink& netlink, const model::Config& config) {
  for (const auto& port : config.ports) {
    const std::string& name = port.interface();
    if (port.engine == model::Engine::dpdk) netlink.link_up(name, port.mtu);
    for (const auto& address : port.addresses) netlink.add_address(name, address);
    if (!port.announce_vips) continue;
    for (const auto& s : model::with_previews(config.services))
      netlink.add_address(name, {s.vip, static_cast<uint8_t>(s.vip.bits())});
  }
}

std::unique_ptr<flow::Storage> open_table(const model::Config& config, const FastPath* fast_path) {
  if (fast_path != nullptr) return std::make_unique<flow::Storage>(fast_path->memory(), config.engine.flows);
  return std::make_unique<flow::Storage>(flow::Storage::Options{
      model::table_file_of(config), config.engine.memory == model::Memory::hugepages, config.engine.flows});
}

// A page given back to the kernel is taken from every CPU that runs a thread of ours: an interrupt to each worker
// (docs/decisions/0016).
void keep_memory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that glibc takes
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

int run(const std::string& file, const model::Config& config, bool migrate) {
  keep_memory();
  host::Signals signals;  // before any thread: they inherit the mask
  std::unique_ptr<FastPath> fast_path;
  if (config.has_xdp_ports()) fast_path = std::make_unique<FastPath>(config, migrate);
  const std::unique_ptr<flow::Storage> memory = open_table(config, fast_path.get());
  flow::Storage& storage = *memory;
  if (fast_path) fast_path->begin_migration(storage);
  flow::Table table(storage.buckets(), storage.head().buckets, storage.locks(), storage.owner(), storage.cells());
  const std::string table_file = model::table_file_of(config);
  spdlog::info("flow table {}: {} flows, {} MiB{}", table_file, config.engine.flows, storage.bytes() >> 20,
               storage.taken_over() ? ", taken over" : "");

  asio::io_context context(1);
  telemetry::Audit audit(config.control.audit_log);
  dataplane::Engine engine(config, storage, table,
                           fast_path ? fast_path->open_sockets() : std::vector<dataplane::RawPort>{});
  if (fast_path) fast_path->load();
  setpriority(PRIO_PROCESS, 0,
              -20);  // this thread only, best effort: a cutover's answer should not wait for a time slice
  host::Netlink netlink;
  set_addresses(netlink, config);
  control::Engines engines(engine, fast_path ? &fast_path->engine() : nullptr);
  control::Balancer balancer(config, file, storage, table, engines);
  std::unique_ptr<ReleaseWork> releases;
  balancer.on_unresolved([&](int ifindex, const model::Address& address) {
    try {
      netlink.resolve(ifindex, address);
    } catch (const std::exception& e) {
      spdlog::warn("cannot ask for neighbour {}: {}", address.str(), e.what());
    }
  });
  balancer.on_reloaded([&](const model::Config& next) {
    try {
      set_addresses(netlink, next);
    } catch (const std::exception& e) {
      spdlog::error("reload: an interface did not take its addresses: {}", e.what());
    }
    if (releases) releases->follow(next);
  });
  netlink.poll();
  if (fast_path) fast_path->carry_flows(storage, table);
  balancer.set_topology(netlink.topology());
  if (fast_path) fast_path->finish_migration(storage, table);

  releases = std::make_unique<ReleaseWork>(context, config, balancer, audit);
  control::Server server(context, config.control, {balancer, releases->rollouts(), releases->events(), audit});
  server.start();

  asio::posix::stream_descriptor netlink_fd(context, netlink.fd()), signal_fd(context, signals.fd());
  asio::steady_timer ticks(context), settle(context), watchdog(context), review(context), rollouts(context);
  bool settling = false;
  const auto look = [&] {
    if (!netlink.poll() || settling) return;
    // The kernel says much at once when a link comes up: a millisecond of it makes one publication.
    settling = true;
    settle.expires_after(std::chrono::milliseconds(1));
    settle.async_wait([&](const boost::system::error_code& e) {
      settling = false;
      if (e) return;
      netlink.poll();
      try {
        balancer.set_topology(netlink.topology());
      } catch (const std::exception& e) {
        spdlog::error("the kernel's routes and neighbours could not be taken over, those before stay: {}", e.what());
      }
    });
  };
  watch(netlink_fd, look);
  every(review, std::chrono::seconds(1), look);  // a re-read that failed is tried again
  watch(signal_fd, [&] {
    switch (signals.read()) {
      case host::Signal::stop:
        context.stop();
        break;
      case host::Signal::reload: {
        host::notify_reloading();
        const auto result = balancer.reload();
        if (const auto* problem = std::get_if<control::Problem>(&result))
          spdlog::error("reload refused, nothing changed: {}", problem->detail);
        host::notify_ready("running");
        break;
      }
      case host::Signal::none:
        break;
    }
  });
  every(ticks, std::chrono::milliseconds(10), [&] { balancer.tick(); });
  every(rollouts, std::chrono::milliseconds(20), [&] { releases->tick(); });
  every(watchdog, std::chrono::seconds(5), [] { host::notify_watchdog(); });
  host::notify_ready("running");
  spdlog::info("teald {} is ready: {} services on {} ports, control socket {}", TEAL_VERSION, config.services.size(),
               config.ports.size(), config.control.socket);
  context.run();

  host::notify_stopping();
  spdlog::info("stopping: flows, split and generation stay in {}", table_file);
  if (fast_path) spdlog::info("stopping: XDP program stays attached and forwards; teald --detach removes it");
  netlink_fd.release();
  signal_fd.release();
  server.stop();
  engine.stop();
  return exit_ok;
}

// Of the configuration only engine.bpf_pins matters; without one that can be read, and none named, its default.
int detach_from(const std::string& file, bool defaulted) {
  const model::ConfigResult read = model::read_config(file);
  if (!read.ok() && !defaulted) {
    for (const auto& e : read.errors) std::cerr << e.str() << "\n";
    return exit_config;
  }
  try {
    detach(read.ok() ? read.config.engine.bpf_pins : model::EngineConfig{}.bpf_pins);
    return exit_ok;
  } catch (const std::exception& e) {
    std::cerr << "teald: " << e.what() << "\n";
    return exit_failed;
  }
}

}  // namespace

int main(int argc, char** argv) {
  po::options_description options("teald [--config FILE] [--check FILE | --migrate | --detach]");
  options.add_options()("help,h", "this text")("version,V", "the version")(
      "config,c", po::value<std::string>()->default_value("/etc/teal/teal.yaml"), "configuration file")(
      "check", po::value<std::string>(), "check a configuration file, print what it means, and exit")(
      "migrate", "start, and carry the flows of a pinned table of another size or layout over (xdp ports)")(
      "detach", "remove what xdp ports left pinned (program, tables, flows), say what that was, and exit")(
      "log-level", po::value<std::string>()->default_value("info"), "trace, debug, info, warn, error");
  po::variables_map values;
  try {
    po::store(po::parse_command_line(argc, argv, options), values);
    po::notify(values);
  } catch (const po::error& e) {
    std::cerr << "teald: " << e.what() << " (see teald --help)\n";
    return exit_usage;
  }
  if (values.count("help")) {
    std::cout
        << options
        << "\nExit codes: 0 stopped as asked, 1 could not start or failed, 2 usage, 3 the configuration has errors.\n";
    return exit_ok;
  }
  if (values.count("version")) {
    std::cout << "teald " << TEAL_VERSION << "\n";
    return exit_ok;
  }
  spdlog::set_default_logger(spdlog::stderr_logger_mt("teald"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  spdlog::set_level(spdlog::level::from_str(values["log-level"].as<std::string>()));
  spdlog::flush_on(spdlog::level::info);
  const bool check = values.count("check") != 0, migrate = values.count("migrate") != 0;
  if (check + migrate + values.count("detach") > 1) {
    std::cerr << "teald: --check, --migrate and --detach: expected one of them (see teald --help)\n";
    return exit_usage;
  }
  const std::string file = values[check ? "check" : "config"].as<std::string>();
  if (values.count("detach")) return detach_from(file, values["config"].defaulted());
  const model::ConfigResult read = model::read_config(file);
  if (!read.ok()) {
    for (const auto& e : read.errors) std::cerr << e.str() << "\n";
    return exit_config;
  }
  if (check) {
    std::cout << model::describe(read.config);
    return exit_ok;
  }
  try {
    return run(std::filesystem::absolute(file).string(), read.config, migrate);
  } catch (const std::exception& e) {
    std::cerr << "teald: " << e.what() << "\n";
    return exit_failed;
  }
}
