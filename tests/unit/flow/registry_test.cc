// SPDX-License-Identifier: Apache-2.0
#include "flow/registry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>

#include "flow_fixture.h"

namespace teal::flow::test {
namespace {

model::BackendConfig backend(const std::string& name, const std::string& endpoint, uint32_t weight = 1) {
  return {name, *model::Endpoint::parse(endpoint), weight};
}

model::ServiceConfig web() {
  model::ServiceConfig s;
  s.name = "web";
  s.vip = *model::Address::parse("198.51.100.1");
  s.port = 80;
  s.pools[0] = {backend("b1", "10.0.0.1:80"), backend("b2", "10.0.0.2:80")};
  s.pools[1] = {backend("g1", "10.0.1.1:80")};
  return s;
}

model::ServiceConfig mail() {
  model::ServiceConfig s = web();
  s.name = "mail";
  s.port = 25;
  s.pools[0] = {backend("m1", "10.0.0.1:25")};
  s.pools[1] = {backend("m2", "10.0.1.1:25")};
  return s;
}

class RegistryTest : public testing::Test {
 protected:
  TempDir dir;
  std::optional<Storage> storage{std::in_place, options()};
  std::optional<Registry> registry{std::in_place, *storage};

  [[nodiscard]] Storage::Options options() const { return {(dir.path / "flows").string(), false, 1024}; }
  void restart() {
    registry.reset();
    storage.reset();
    storage.emplace(options());
    registry.emplace(*storage);
  }
  [[nodiscard]] uint16_t number(const char* service, const char* name) const {
    return registry->backend_number(registry->service_number(service), name);
  }
  static bool has(const std::vector<std::string>& lines, const std::string& text) {
    return std::any_of(lines.begin(), lines.end(), [&](const auto& l) { return l.find(text) != std::string::npos; });
  }
  static bool holds(const std::vector<uint16_t>& list, uint16_t n) {
    return std::find(list.begin(), list.end(), n) != list.end();
  }
};

TEST_F(RegistryTest, NumbersAreStableAcrossApplyOrderAndRestart) {
  registry->apply({web(), mail()});
  const uint16_t w = registry->service_number("web"), m = registry->service_number("mail");
  const uint16_t b1 = number("web", "b1"), b2 = number("web", "b2"), g1 = number("web", "g1"),
                 m1 = number("mail", "m1");
  const std::set<uint16_t> all = {b1, b2, g1, m1};
  EXPECT_EQ(all.size(), 4u);
  EXPECT_FALSE(all.contains(0));
  ASSERT_NE(w, 0);
  ASSERT_NE(w, m);
  EXPECT_TRUE(registry->apply({web(), mail()}).empty()) << "nothing changed, nothing said";
  model::ServiceConfig turned = web();
  std::reverse(turned.pools[0].begin(), turned.pools[0].end());
  registry->apply({mail(), turned});
  restart();
  EXPECT_TRUE(storage->taken_over());
  registry->apply({mail(), turned});
  EXPECT_EQ(registry->service_number("web"), w);
  EXPECT_EQ(registry->service_number("mail"), m);
  EXPECT_EQ(number("web", "b1"), b1);
  EXPECT_EQ(number("web", "b2"), b2);
  EXPECT_EQ(number("web", "g1"), g1);
  EXPECT_EQ(number("mail", "m1"), m1);
}

TEST_F(RegistryTest, ARenameKeepsNumbersAndSplit) {
  registry->apply({web()});
  const uint16_t w = registry->service_number("web"), b1 = number("web", "b1");
  const uint64_t cut = teal_split_make(5, TEAL_SPLIT_ALL, 1, TEAL_GREEN);
  registry->split(registry->service(w).group).current = cut;
  model::ServiceConfig renamed = web();
  renamed.name = "shop";
  renamed.pools[0][0].name = "first";
  EXPECT_TRUE(has(registry->apply({renamed}), "service web renamed to shop"));
  EXPECT_EQ(registry->service_number("shop"), w);
  EXPECT_EQ(registry->service_number("web"), 0);
  EXPECT_EQ(number("shop", "first"), b1);
  EXPECT_EQ(registry->split(registry->service(w).group).current, cut);

  // Another service under the old name must not share the split of the renamed one.
  model::ServiceConfig next = mail();
  next.name = "web";
  registry->apply({renamed, next});
  EXPECT_NE(registry->service(registry->service_number("web")).group, registry->service(w).group);
}

TEST_F(RegistryTest, GroupsShareASplitAndCanBeJoinedAndLeft) {
  model::ServiceConfig a = web(), b = mail();
  a.group = b.group = "both";
  registry->apply({a, b});
  const uint16_t sa = registry->service_number("web"), sb = registry->service_number("mail");
  ASSERT_EQ(registry->service(sa).group, registry->service(sb).group);
  EXPECT_EQ(registry->group_name(registry->service(sa).group), "both");
  const uint64_t cut = teal_split_make(9, TEAL_SPLIT_ALL, 0, TEAL_GREEN);
  registry->split(registry->service(sa).group).current = cut;
  b.group = "alone";
  EXPECT_TRUE(has(registry->apply({a, b}), "service mail: group both -> alone"));
  EXPECT_NE(registry->service(sa).group, registry->service(sb).group);
  EXPECT_EQ(registry->split(registry->service(sb).group).current, cut) << "leaving a group is not a cutover";
}

TEST_F(RegistryTest, AServiceBeginsOnItsActivePool) {
  model::ServiceConfig green = web();
  green.active = model::Pool::green;
  registry->apply({green, mail()});
  const auto word = [&](const char* name) {
    return registry->split(registry->service(registry->service_number(name)).group).current;
  };
  EXPECT_EQ(teal_split_share(word("web")), TEAL_SPLIT_ALL);
  EXPECT_EQ(teal_split_active(word("web")), TEAL_GREEN);
  EXPECT_EQ(teal_split_share(word("mail")), 0u);
}

TEST_F(RegistryTest, ARemovedBackendsNumberWaitsForTheCensus) {
  registry->apply({web()});
  const uint16_t b2 = number("web", "b2");
  model::ServiceConfig less = web();
  less.pools[0].pop_back();
  EXPECT_TRUE(has(registry->apply({less}), "backend b2 removed from blue"));
  EXPECT_EQ(number("web", "b2"), 0);
  EXPECT_TRUE(holds(registry->backends(), b2));

  Census census;
  census.by_backend[b2][TEAL_FLOW_established] = 1;
  for (uint64_t walk = 1; walk < 10; walk++) EXPECT_FALSE(registry->collect(census, walk)) << walk;
  model::ServiceConfig more = less;
  more.pools[0].push_back(backend("b3", "10.0.0.3:80"));
  registry->apply({more});
  EXPECT_NE(number("web", "b3"), b2) << "a number was reused while an entry names it";

  census.by_backend[b2][TEAL_FLOW_established] = 0;
  EXPECT_FALSE(registry->collect(census, 10)) << "a flow was seen only one walk ago";
  EXPECT_TRUE(registry->collect(census, 11));
  EXPECT_FALSE(holds(registry->backends(), b2));
  more.pools[0].push_back(backend("b4", "10.0.0.4:80"));
  registry->apply({more});
  EXPECT_EQ(number("web", "b4"), b2) << "free numbers are used again";
  EXPECT_FALSE(registry->collect(census, 50)) << "it is in use";
}

TEST_F(RegistryTest, AfterARestartARemovedNumberWaitsTwoWalksOfItsOwn) {
  registry->apply({web()});
  const uint16_t b2 = number("web", "b2");
  model::ServiceConfig less = web();
  less.pools[0].pop_back();
  registry->apply({less});
  restart();
  registry->apply({less});
  Census census;
  EXPECT_FALSE(registry->collect(census, 1));
  EXPECT_FALSE(registry->collect(census, 2));
  EXPECT_TRUE(registry->collect(census, 3));
  EXPECT_FALSE(holds(registry->backends(), b2));
}

TEST_F(RegistryTest, ABackendThatComesBackHasItsNumber) {
  registry->apply({web()});
  const uint16_t b2 = number("web", "b2");
  model::ServiceConfig less = web();
  less.pools[0].pop_back();
  registry->apply({less});
  EXPECT_TRUE(has(registry->apply({web()}), "backend b2 added to blue again"));
  EXPECT_EQ(number("web", "b2"), b2);
}

TEST_F(RegistryTest, TheOperatorsWeightStaysUntilTheFilesChanges) {
  registry->apply({web()});
  const uint16_t b1 = number("web", "b1");
  registry->backend(b1).weight = 9;
  registry->apply({web()});
  EXPECT_EQ(registry->backend(b1).weight, 9u);
  restart();
  registry->apply({web()});
  EXPECT_EQ(registry->backend(b1).weight, 9u);
  model::ServiceConfig heavier = web();
  heavier.pools[0][0].weight = 3;
  EXPECT_TRUE(has(registry->apply({heavier}), "backend b1 weight 9 -> 3"));
  EXPECT_EQ(registry->backend(b1).weight, 3u);
}

TEST_F(RegistryTest, ARetiredServiceStaysUntilItsFlowsHaveEnded) {
  registry->apply({web(), mail()});
  const uint16_t m = registry->service_number("mail"), m1 = number("mail", "m1");
  EXPECT_TRUE(has(registry->apply({web()}), "service mail retired"));
  EXPECT_EQ(registry->service_number("mail"), 0);
  EXPECT_TRUE(holds(registry->services(), m));
  EXPECT_TRUE(registry->backend(m1).removed);

  Census census;
  census.by_service[m][0] = census.by_backend[m1][TEAL_FLOW_established] = 1;
  for (uint64_t walk = 1; walk < 5; walk++) (void)registry->collect(census, walk);
  EXPECT_TRUE(holds(registry->services(), m));
  EXPECT_TRUE(holds(registry->backends(), m1));
  EXPECT_TRUE(has(registry->apply({web(), mail()}), "service mail configured again"));
  EXPECT_EQ(registry->service_number("mail"), m);
  EXPECT_EQ(number("mail", "m1"), m1);

  registry->apply({web()});
  census.by_service[m][0] = census.by_backend[m1][TEAL_FLOW_established] = 0;
  for (uint64_t walk = 10; walk < 14; walk++) (void)registry->collect(census, walk);
  EXPECT_FALSE(holds(registry->services(), m));
  EXPECT_FALSE(holds(registry->backends(), m1));
}

}  // namespace
}  // namespace teal::flow::test
