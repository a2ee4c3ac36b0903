// SPDX-License-Identifier: Apache-2.0
#include "engines/dpdk_engine.h"

#include <unistd.h>

#include <filesystem>

#include "engines/pipeline_engine.h"

namespace teal::tests {

std::unique_ptr<Engine> make_dpdk_engine(uint64_t flows, const teal_secret& secret) {
  const auto file = std::filesystem::temp_directory_path() / ("teal-cases-" + std::to_string(getpid()));
  auto storage = std::make_unique<flow::Storage>(flow::Storage::Options{file.string(), false, flows});
  std::filesystem::remove(file);  // the mapping lives on; nothing is left behind
  return std::make_unique<PipelineEngine>(std::move(storage), secret);
}

}  // namespace teal::tests
