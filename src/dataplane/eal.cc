// SPDX-License-Identifier: Apache-2.0
#include "eal.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <sched.h>

#include <algorithm>
#include <iterator>
#include <regex>
#include <stdexcept>

namespace teal::dataplane {

namespace {

std::vector<unsigned> allowed_cpus() {  // to this thread
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof(set), &set);
  std::vector<unsigned> out;
  for (unsigned i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET(i, &set)) out.push_back(i);
  return out;
}

}  // namespace

std::vector<unsigned> worker_cpus(const model::EngineConfig& engine) {
  if (!engine.cpus.empty()) return engine.cpus;
  const std::vector<unsigned> may = allowed_cpus();
  std::vector<unsigned> out;
  // From the end: the first CPUs take most of a host's interrupts.
  for (unsigned i = 0; i < engine.workers; i++) out.push_back(may[may.size() - 1 - i % may.size()]);
  return out;
}

std::string device_name(const std::string& device) {
  return device.substr(0, device.find(','));
}

bool is_pci(const std::string& device) {
  static const std::regex pci("([0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\\.[0-7]");
  return std::regex_match(device_name(device), pci);
}

std::vector<std::string> eal_arguments(const model::Config& config, const std::vector<unsigned>& cpus) {
  std::vector<std::string> args{"teald"};
  // Each worker is bound to its CPU. The control thread is EAL's main lcore: it stays off those, where there are
  // others.
  const std::vector<unsigned> may = allowed_cpus();
  const auto join = [](const std::vector<unsigned>& numbers) {
    std::string out;
    for (const unsigned i : numbers) out += (out.empty() ? "" : ",") + std::to_string(i);
    return out;
  };
  std::vector<unsigned> others;
  std::copy_if(may.begin(), may.end(), std::back_inserter(others),
               [&](unsigned i) { return std::find(cpus.begin(), cpus.end(), i) == cpus.end(); });
  std::string lcores = "0@(" + join(others.empty() ? may : others) + ")";
  for (size_t i = 0; i < cpus.size(); i++) lcores += "," + std::to_string(i + 1) + "@" + std::to_string(cpus[i]);
  args.push_back("--lcores=" + lcores);
  args.push_back("--main-lcore=0");
  if (config.engine.memory == model::Memory::hugepages) {
    args.push_back("--in-memory");
    args.push_back("-m");
    args.push_back(std::to_string(config.engine.packet_memory_mib));
  } else {
    args.push_back("--no-huge");
    args.push_back("--no-shconf");
    args.push_back("-m");
    args.push_back(std::to_string(config.engine.packet_memory_mib));
  }
  args.push_back("--no-telemetry");
  args.push_back("--file-prefix=teald");  // a name for an empty directory: nothing is shared with other processes
  args.push_back("--log-level=lib.eal:error");
  args.push_back("--log-level=pmd:error");
  bool pci = false;
  for (const auto& port : config.ports) {
    if (port.engine == model::Engine::xdp) continue;  // stays with the kernel
    if (is_pci(port.device)) {
      args.push_back("-a");
      args.push_back(port.device);
      pci = true;
    } else {
      args.push_back("--vdev=" + port.device);
    }
  }
  if (!pci) args.push_back("--no-pci");
  return args;
}

void start_eal(const model::Config& config, const std::vector<unsigned>& cpus) {
  std::vector<std::string> args = eal_arguments(config, cpus);
  std::vector<char*> argv;
  for (auto& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  if (rte_eal_init(static_cast<int>(args.size()), argv.data()) >= 0) {
    // What these say at a start is not for an operator: a queueing discipline that we do not need, a table's size.
    rte_log_set_level_pattern("pmd.net.tap", RTE_LOG_CRIT);
    rte_log_set_level(RTE_LOGTYPE_USER1, RTE_LOG_WARNING);
    return;
  }
  const int why = rte_errno;
  std::string devices;
  for (const auto& port : config.ports)
    if (port.engine == model::Engine::dpdk) devices += (devices.empty() ? "'" : ", '") + port.device + "'";
  throw std::runtime_error("DPDK did not start: " + std::string(rte_strerror(why)) +
                           (config.engine.memory == model::Memory::hugepages
                                ? "; expected " + std::to_string(config.engine.packet_memory_mib) +
                                      " MiB of free huge pages (engine.packet_memory_mib)"
                                : "; expected " + std::to_string(config.engine.packet_memory_mib) + " MiB of memory") +
                           (devices.empty() ? "" : " and usable devices " + devices));
}

}  // namespace teal::dataplane
