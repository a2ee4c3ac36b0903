// SPDX-License-Identifier: Apache-2.0
// teald: reads the configuration, wires the rooms together, and runs the control thread. The only file that knows
// everyone.
//
// Exit codes: 0 stopped as asked; 1 could not start or failed; 2 usage; 3 the configuration has errors.
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
#include "flow/storage.h"
#include "flow/table.h"
#include "host/netlink.h"
#include "host/notify.h"
#include "model/config_file.h"
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

// Gives the taps the addresses of the configuration, and the VIPs, so that the kernel answers for them.
void set_addresses(host::Netlink& netlink, const model::Config& config) {
  for (const auto& port : config.ports) {
    netlink.link_up(port.name, port.mtu);
    for (const auto& address : port.addresses) netlink.add_address(port.name, address);
    if (!port.announce_vips) continue;
    for (const auto& s : config.services) netlink.add_address(port.name, {s.vip, static_cast<uint8_t>(s.vip.bits())});
  }
}

int run(const std::string& file, model::Config config) {
  host::Signals signals;  // before any thread: they inherit the mask
  if (config.engine.table_file.empty())
    config.engine.table_file =
        config.engine.memory == model::Memory::hugepages ? "/dev/hugepages/teal/flows" : "/dev/shm/teal/flows";
  flow::Storage storage(
      {config.engine.table_file, config.engine.memory == model::Memory::hugepages, config.engine.flows});
  flow::Table table(storage.buckets(), storage.head().buckets, storage.locks(),
                    static_cast<uint32_t>(storage.head().instance % 0xffffffffu) + 1);
  spdlog::info("flow table {}: {} flows, {} MiB{}", config.engine.table_file, config.engine.flows,
               storage.bytes() >> 20, storage.taken_over() ? ", taken over" : "");

  asio::io_context context(1);
  telemetry::Audit audit(config.control.audit_log);
  dataplane::Engine engine(config, storage, table);
  setpriority(PRIO_PROCESS, 0,
              -20);  // this thread only, best effort: a cutover's answer should not wait for a time slice
  host::Netlink netlink;
  set_addresses(netlink, config);
  control::Balancer balancer(config, file, storage, table, engine);
  balancer.on_unresolved([&](int ifindex, const model::Address& address) {
    try {
      netlink.resolve(ifindex, address);
    } catch (const std::exception& e) {
      spdlog::warn("cannot ask for neighbour {}: {}", address.str(), e.what());
    }
  });
  netlink.poll();
  balancer.set_topology(netlink.topology());

  control::Server server(context, config.control, balancer, audit);
  server.start();

  asio::posix::stream_descriptor netlink_fd(context, netlink.fd()), signal_fd(context, signals.fd());
  asio::steady_timer ticks(context), settle(context), watchdog(context), review(context);
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
      balancer.set_topology(netlink.topology());
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
        if (const auto* problem = std::get_if<control::Problem>(&result)) {
          spdlog::error("reload refused, nothing changed: {}", problem->detail);
        } else if (const auto read = model::read_config(file); read.ok()) {
          set_addresses(netlink, read.config);
        }
        host::notify_ready("running");
        break;
      }
      case host::Signal::none:
        break;
    }
  });
  every(ticks, std::chrono::milliseconds(10), [&] { balancer.tick(); });
  every(watchdog, std::chrono::seconds(5), [] { host::notify_watchdog(); });
  host::notify_ready("running");
  spdlog::info("teald {} is ready: {} services on {} ports, control socket {}", TEAL_VERSION, config.services.size(),
               config.ports.size(), config.control.socket);
  context.run();

  host::notify_stopping();
  spdlog::info("stopping: flows, split and generation stay in {}", config.engine.table_file);
  netlink_fd.release();
  signal_fd.release();
  server.stop();
  engine.stop();
  return exit_ok;
}

}  // namespace

int main(int argc, char** argv) {
  po::options_description options("teald [--config FILE] [--check FILE]");
  options.add_options()("help,h", "this text")("version,V", "the version")(
      "config,c", po::value<std::string>()->default_value("/etc/teal/teal.yaml"), "configuration file")(
      "check", po::value<std::string>(), "check a configuration file, print what it means, and exit")(
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
  const bool check = values.count("check") != 0;
  const std::string file = values[check ? "check" : "config"].as<std::string>();
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
    return run(std::filesystem::absolute(file).string(), read.config);
  } catch (const std::exception& e) {
    std::cerr << "teald: " << e.what() << "\n";
    return exit_failed;
  }
}
