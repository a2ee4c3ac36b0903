// SPDX-License-Identifier: Apache-2.0
// teal-fill: puts established flows into the flow table of a teald that is not running, as if they had come by
// themselves.
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "bench_world.h"
#include "flow/registry.h"

namespace teal::perf {
namespace {

int fill(const std::string& file, uint64_t capacity, uint32_t flows, const std::string& name) {
  flow::Storage::Options options;
  options.file = file;
  options.hugepages = false;
  options.flows = capacity;
  flow::Storage storage(options);
  if (!storage.taken_over()) throw std::runtime_error(file + ": found no table of this boot, expected teald's");
  flow::Registry registry(storage);
  uint16_t service = 0, backend = 0;
  for (const uint16_t s : registry.services())
    if (storage.services()[s].name == name) service = s;
  for (const uint16_t b : registry.backends())
    if (service != 0 && registry.backend(b).service == service && registry.backend(b).pool == TEAL_BLUE) backend = b;
  if (backend == 0) throw std::runtime_error(file + ": no service '" + name + "' with a blue backend in it");
  flow::Table table(storage.buckets(), storage.head().buckets, storage.locks(), storage.owner(), storage.cells());
  const uint32_t now = storage.now();
  flow::InsertCounts counts;
  uint32_t entered = 0;
  for (uint32_t i = 0; i < flows; i++) {
    const teal_flow_key key = teal_flow_key4(&storage.head().secret, client4_of(i), client_port_of(i), service);
    uint64_t val = teal_val(backend, TEAL_BLUE, 1, TEAL_FLOW_established, key.check, now);
    entered += table.insert(storage.head().secret, key, &val, 0, now, counts) == flow::Inserted::entered;
  }
  std::printf("%u\n", entered);
  return 0;
}

}  // namespace
}  // namespace teal::perf

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: teal-fill TABLE_FILE CAPACITY FLOWS SERVICE; prints how many found a place\n");
    return 2;
  }
  try {
    return teal::perf::fill(argv[1], std::strtoull(argv[2], nullptr, 10),
                            static_cast<uint32_t>(std::strtoul(argv[3], nullptr, 10)), argv[4]);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "teal-fill: %s\n", e.what());
    return 1;
  }
}
