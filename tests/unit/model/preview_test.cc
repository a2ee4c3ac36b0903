// SPDX-License-Identifier: Apache-2.0
#include "model/preview.h"

#include <gtest/gtest.h>

#include <string>

#include "model/config_file.h"

namespace {

using namespace teal::model;

std::vector<ServiceConfig> services(const std::string& text) {
  const ConfigResult result = parse_config("ports: [{name: p, device: d}]\nservices:\n" + text, "f");
  for (const ConfigError& e : result.errors) ADD_FAILURE() << e.str();
  return result.config.services;
}

const std::string web =
    "  - {name: web, vip: 192.0.2.1, port: 80, group: shop, active: green, split_by: flow, mss_clamp: 1400,\n"
    "     pools: {blue: [10.0.0.1:8080], green: [{name: g, address: 10.0.0.2, weight: 3}]},\n"
    "     affinity: {by: client}, rollout: {hold: 1s}, health: {check: tcp}, preview: ";

TEST(Preview, WithoutOneNothingIsAdded) {
  const auto plain = services("  - {name: a, vip: 192.0.2.1, port: 80, pools: {}, preview: {clients: [10.0.0.0/8]}}\n");
  EXPECT_EQ(preview_endpoint(plain[0]), std::nullopt);
  EXPECT_EQ(with_previews(plain), plain);
  EXPECT_EQ(with_previews({}), std::vector<ServiceConfig>{});
}

TEST(Preview, IsAServiceThatStartsOnTheOtherPool) {
  const auto before = services(web + "{vip: 192.0.2.9, clients: [10.0.0.0/8]}}\n");
  const auto after = with_previews(before);
  ASSERT_EQ(after.size(), 2u);
  EXPECT_EQ(after[0], before[0]);
  ServiceConfig expected = before[0];
  expected.name = "web@preview";
  expected.group = "shop@preview";
  expected.vip = *Address::parse("192.0.2.9");
  expected.active = Pool::blue;
  expected.rollout = {};
  expected.preview = {};
  expected.affinity = {};
  EXPECT_EQ(after[1], expected);
}

TEST(Preview, TakesWhatIsLeftOutFromTheService) {
  EXPECT_EQ(preview_endpoint(services(web + "{vip: 192.0.2.9, port: 81}}\n")[0]), Endpoint::parse("192.0.2.9:81"));
  EXPECT_EQ(preview_endpoint(services(web + "{vip: 192.0.2.9}}\n")[0]), Endpoint::parse("192.0.2.9:80"));
  EXPECT_EQ(preview_endpoint(services(web + "{port: 81}}\n")[0]), Endpoint::parse("192.0.2.1:81"));
}

TEST(Preview, BackendsKeepTheirPortOnlyWhereItIsRewritten) {
  const auto port_of = [](const char* forward) {
    const auto list = with_previews(
        services(std::string("  - {name: a, vip: 192.0.2.1, port: 80, pools: {blue: [10.0.0.1]}, preview: {port: 81}, "
                             "forward: ") +
                 forward + "}\n"));
    return list.at(1).pools[0].at(0).endpoint.port;
  };
  EXPECT_EQ(port_of("nat"), 80);
  EXPECT_EQ(port_of("l2dsr"), 81);
  EXPECT_EQ(port_of("ipip"), 81);
}

TEST(Preview, AGroupsPreviewsAreAGroup) {
  const auto list =
      with_previews(services("  - {name: a, vip: 192.0.2.1, port: 80, group: g, pools: {}, preview: {vip: 192.0.2.9}}\n"
                             "  - {name: b, vip: 192.0.2.1, port: 81, group: g, pools: {}, preview: {vip: 192.0.2.9}}\n"
                             "  - {name: c, vip: 192.0.2.1, port: 82, group: g, pools: {}}\n"));
  ASSERT_EQ(list.size(), 5u);
  EXPECT_EQ(list[3].name, "a@preview");
  EXPECT_EQ(list[4].name, "b@preview");
  EXPECT_EQ(list[3].group, list[4].group);
}

TEST(Preview, MadeAnewFromItsOwnResult) {
  auto list = with_previews(services(web + "{vip: 192.0.2.9}}\n"));
  EXPECT_EQ(with_previews(list), list);
  list[0].preview = {};
  EXPECT_EQ(with_previews(list).size(), 1u);
}

TEST(Preview, Names) {
  EXPECT_EQ(preview_name("web"), "web@preview");
  EXPECT_EQ(previewed_name("web@preview"), "web");
  EXPECT_EQ(previewed_name("web"), std::nullopt);
  EXPECT_EQ(previewed_name("preview"), std::nullopt);
  // No name of a file is one of a preview.
  const auto bad = parse_config(
      "ports: [{name: p, device: d}]\nservices: [{name: web@preview, vip: 192.0.2.1, port: 80, pools: {}}]", "f");
  EXPECT_EQ(bad.errors.size(), 1u);
}

}  // namespace
