// SPDX-License-Identifier: Apache-2.0
#include "flow/snapshot_input.h"

#include <gtest/gtest.h>

#include "flow_fixture.h"
#include "mapped_memory.h"

namespace teal::flow::test {
namespace {

model::ServiceConfig service(const std::string& name, const std::string& vip) {
  model::ServiceConfig s;
  s.name = name;
  s.vip = *model::Address::parse(vip);
  s.port = 80;
  s.group = name;
  for (const char* address : {"10.0.0.1", "10.0.0.2", "10.0.0.3"})
    s.pools[0].push_back({address, {*model::Address::parse(address), 8080}, 5});
  return s;
}

TEST(SnapshotInput, RecordsSayWhoTakesNewFlowsAndTheConfigurationTheRest) {
  const MappedMemory memory(1024);
  Storage storage(memory.mapped(false), 1024);
  Registry registry(storage);
  model::Config config;
  config.engine.timeouts.udp_s = 17;
  config.services = {service("web", "192.0.2.1"), service("old", "192.0.2.2")};
  config.services[0].mss_clamp = 1200;
  registry.apply(config.services);
  config.services.pop_back();
  registry.apply(config.services);  // "old" is retired
  const uint16_t web = registry.service_number("web");
  registry.backend(registry.backend_number(web, "10.0.0.2")).state = 1;  // drained
  registry.backend(registry.backend_number(web, "10.0.0.3")).weight = 3;

  const model::SnapshotInput in = snapshot_input(registry, storage.head().secret, config);
  EXPECT_EQ(in.secret.mul[0], storage.head().secret.mul[0]);
  EXPECT_EQ(in.engine.timeouts.udp_s, 17u);
  ASSERT_EQ(in.services.size(), 2u);
  EXPECT_EQ(in.services[0].number, web);
  EXPECT_EQ(in.services[0].config.mss_clamp, 1200);
  EXPECT_FALSE(in.services[0].retired);
  EXPECT_TRUE(in.services[1].retired);
  EXPECT_EQ(in.services[1].config.vip.str(), "192.0.2.2");
  EXPECT_EQ(in.services[1].config.port, 80);
  ASSERT_EQ(in.backends.size(), 6u);
  std::map<std::string, uint32_t> weights;
  for (const auto& b : in.backends)
    if (b.service == web)
      weights[b.endpoint.str()] = b.weight;
    else
      EXPECT_EQ(b.weight, 0u) << "a retired service's backend takes new flows";
  EXPECT_EQ(weights,
            (std::map<std::string, uint32_t>{{"10.0.0.1:8080", 5}, {"10.0.0.2:8080", 0}, {"10.0.0.3:8080", 3}}));
}

}  // namespace
}  // namespace teal::flow::test
