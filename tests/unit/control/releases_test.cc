// SPDX-License-Identifier: Apache-2.0
// Rollouts, previews, drains and the audit's verification over the real socket.
#include <gtest/gtest.h>

#include "server_fixture.h"

namespace teal::control {
namespace {

constexpr const char* rollouts = "/v1/rollouts";

TEST_F(ServerTest, AStartIsPassedOnWhole) {
  const auto reply = send("POST", rollouts, R"({"service":"web","to":"green","steps":[0.01,0.5,1],"hold_s":5,"bake_s":0,
    "drain_deadline_s":1800,"at_deadline":"reset","ignore_affinity":true,"again":true,"force":["capacity","untracked_flows"]})");
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.json()["phase"], "shifting");
  EXPECT_EQ(reply.json()["message"], "rollout 3 is started: blue to green, steps 1 %, 10 %, 50 %, 100 %");
  const RolloutRequest& r = releases.last_start;
  EXPECT_EQ(r.name, "web");
  EXPECT_EQ(r.to, model::Pool::green);
  EXPECT_EQ(r.steps, (std::vector<uint32_t>{655, 32768, 65536}));
  EXPECT_EQ(r.hold_s, 5u);
  EXPECT_EQ(r.bake_s, 0u);
  EXPECT_EQ(r.drain_deadline_s, 1800u);
  EXPECT_EQ(r.at_deadline, model::FlowsAction::reset);
  EXPECT_TRUE(r.ignore_affinity);
  EXPECT_TRUE(r.again);
  EXPECT_EQ(r.force, (std::vector<std::string>{"capacity", "untracked_flows"}));
  EXPECT_EQ(r.caller.uid, getuid());
}

TEST_F(ServerTest, AStartLeavesOutWhatIsConfigured) {
  EXPECT_EQ(send("POST", rollouts, R"({"group":"front"})").status, 200);
  const RolloutRequest& r = releases.last_start;
  EXPECT_EQ(r.name, "front");
  EXPECT_FALSE(r.to || r.hold_s || r.bake_s || r.drain_deadline_s || r.at_deadline);
  EXPECT_TRUE(r.steps.empty() && r.force.empty());
  EXPECT_FALSE(r.again || r.ignore_affinity);
}

TEST_F(ServerTest, ADryRunStartsNothing) {
  const auto reply = send("POST", rollouts, R"({"service":"web","dry_run":true})");
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.json()["dry_run"], true);
  EXPECT_EQ(reply.json()["steps"][1]["moves"], 0.9);
  EXPECT_EQ(reply.json()["risks"][0]["name"], "untracked_flows");
  EXPECT_EQ(releases.last_command, "");
}

TEST_F(ServerTest, CommandsArePassedOn) {
  EXPECT_EQ(get(rollouts).json()["rollouts"][0]["group"], "front");
  EXPECT_EQ(get("/v1/rollouts/front").json()["signals"][0]["refused"], 1);
  EXPECT_EQ(send("POST", "/v1/rollouts/front/pause").status, 200);
  EXPECT_EQ(releases.last_command, "pause");
  EXPECT_EQ(send("POST", "/v1/rollouts/web/resume").status, 200);
  EXPECT_EQ(releases.last_command, "resume");
  EXPECT_EQ(send("POST", "/v1/rollouts/front/promote").status, 200);
  EXPECT_FALSE(releases.last_all);
  EXPECT_EQ(send("POST", "/v1/rollouts/front/promote", R"({"all":true})").status, 200);
  EXPECT_TRUE(releases.last_all);
  EXPECT_EQ(send("POST", "/v1/rollouts/front/abort").status, 200);
  EXPECT_FALSE(releases.last_flows);
  EXPECT_FALSE(releases.last_force);
  EXPECT_EQ(send("POST", "/v1/rollouts/front/abort", R"({"flows":"reset","force":true})").status, 200);
  EXPECT_EQ(releases.last_flows, model::FlowsAction::reset);
  EXPECT_TRUE(releases.last_force);
}

TEST_F(ServerTest, BadStartsAreRefusedByName) {
  const struct {
    const char *body, *code, *detail;
  } bad[] = {
      {"{}", "missing_key", "body: found neither \"service\" nor \"group\", expected one of them"},
      {R"({"service":"web","group":"front"})", "unknown_key",
       "body: found both \"service\" and \"group\", expected one of them"},
      {R"({"service":""})", "wrong_value", "key \"service\": found an empty string, expected the name of a service"},
      {R"({"service":"web","steps":0.5})", "wrong_type",
       "key \"steps\": found the number 0.5, expected an array of shares from 0 to 1"},
      {R"({"service":"web","steps":[]})", "wrong_value",
       "key \"steps\": found none, expected rising shares above 0, the last one 1 ([0.01, 0.1, 0.5, 1])"},
      {R"({"service":"web","steps":[0.5]})", "wrong_value",
       "key \"steps\": found a last one below 1, expected rising shares above 0, the last one 1 ([0.01, 0.1, 0.5, 1])"},
      {R"({"service":"web","steps":[0.5,0.5,1]})", "wrong_value",
       "key \"steps\": found the number 0.5 in it, expected rising shares above 0, the last one 1 ([0.01, 0.1, 0.5, "
       "1])"},
      {R"({"service":"web","steps":[0.000001,1]})", "wrong_value", ""},
      {R"({"service":"web","steps":[1.5]})", "wrong_value", ""},
      {R"({"service":"web","steps":["1%"]})", "wrong_type", ""},
      {R"({"service":"web","hold_s":2592001})", "wrong_value",
       "key \"hold_s\": found the number 2592001, expected an integer from 0 to 2592000"},
      {R"({"service":"web","at_deadline":"drop"})", "wrong_value",
       "key \"at_deadline\": found the string \"drop\", expected \"keep\" or \"reset\""},
      {R"({"service":"web","force":true})", "wrong_type", ""},
      {R"({"service":"web","force":["all"]})", "wrong_value",
       "key \"force\": found the string \"all\" in it, expected an array of \"no_ready_backend\", \"untracked_flows\", "
       "\"rollout_under_way\", \"capacity\" or \"needs_again\""},
      {R"({"service":"web","dry_run":1})", "wrong_type", "key \"dry_run\": found the number 1, expected true or false"},
  };
  for (const auto& b : bad) {
    SCOPED_TRACE(b.body);
    const auto reply = send("POST", rollouts, b.body);
    EXPECT_EQ(reply.status, 400);
    EXPECT_EQ(reply.json()["code"], b.code);
    if (*b.detail != '\0') {
      EXPECT_EQ(reply.json()["detail"], b.detail);
    }
  }
  EXPECT_EQ(releases.last_start.name, "") << "a refused start came through";
  EXPECT_EQ(send("POST", rollouts, R"({"service":"nix"})").json()["code"], "unknown_group");
  EXPECT_EQ(send("POST", rollouts, R"({"service":"problem-needs_again"})").status, 409);
  EXPECT_EQ(send("POST", "/v1/rollouts/nix/pause").status, 404);
  EXPECT_EQ(send("DELETE", "/v1/rollouts/front").status, 405);
}

TEST_F(ServerTest, PreviewClientsAreChangedLive) {
  EXPECT_EQ(get("/v1/services/web/preview").json()["clients"], Json::parse(R"(["198.51.100.0/24"])"));
  const auto reply = send("PUT", "/v1/services/web/preview", R"({"clients":["2001:db8::/32","203.0.113.7"]})");
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.json()["clients"], Json::parse(R"(["2001:db8::/32","203.0.113.7/32"])"));
  EXPECT_EQ(reply.json()["changed_live"], true);
  EXPECT_EQ(send("PUT", "/v1/services/web/preview", R"({"clients":[]})").status, 200);
  const auto bad = send("PUT", "/v1/services/web/preview", R"({"clients":["x"]})");
  EXPECT_EQ(bad.json()["code"], "wrong_value");
  EXPECT_NE(bad.json()["detail"].get<std::string>().find("found the string \"x\" in it"), std::string::npos);
  EXPECT_EQ(send("PUT", "/v1/services/web/preview", "{}").json()["code"], "missing_key");
  EXPECT_EQ(get("/v1/audit").json()["entries"].size(), 4u);
}

TEST_F(ServerTest, DrainsAreTold) {
  const auto reply = get("/v1/services/web/drain").json();
  EXPECT_EQ(reply["flows"], 11);
  EXPECT_EQ(reply["idle"],
            Json::parse(R"([{"up_to_s":1,"flows":2},{"up_to_s":60,"flows":9},{"up_to_s":null,"flows":0}])"));
  EXPECT_EQ(reply["eta_s"], 90);
}

TEST_F(ServerTest, AnAuditLineHoldsCountersAroundTheChange) {
  send("POST", "/v1/services/web/cutover", R"({"to":"green"})");
  send("POST", rollouts, R"({"service":"web"})");
  send("POST", rollouts, R"({"service":"nix"})");
  const auto entries = get("/v1/audit").json()["entries"];
  EXPECT_EQ(entries[0]["counters_before"]["flows_blue"], 2 * 1234587) << "over the group";
  EXPECT_EQ(entries[0]["counters_after"]["flows_moved"], 0);
  EXPECT_EQ(entries[1]["generation_before"], 8);
  EXPECT_TRUE(entries[1].contains("counters_after"));
  EXPECT_FALSE(entries[2].contains("counters_before")) << "of an unknown service nothing is known";
}

TEST_F(ServerTest, TheWholeAuditIsVerified) {
  for (int i = 0; i < 3; ++i) send("POST", "/v1/reload");
  auto reply = get("/v1/audit/verify").json();
  EXPECT_EQ(reply["ok"], true) << reply.dump();
  EXPECT_EQ(reply["lines"], 3);
  EXPECT_EQ(reply["first_names"], telemetry::audit_origin);
  rewrite_audit([](std::string& text) { text.replace(text.find("\"seq\":2"), 7, "\"seq\":9"); });
  reply = get("/v1/audit/verify").json();
  EXPECT_EQ(reply["ok"], false);
  ASSERT_EQ(reply["findings"].size(), 1u);
  EXPECT_EQ(reply["findings"][0]["line"], 3);
}

TEST_F(ServerTest, ARotatedAuditIsVerifiedFromItsFirstLine) {
  send("POST", "/v1/reload");
  std::filesystem::rename(audit->path(), audit->path() + ".1");
  send("POST", "/v1/reload");
  const auto reply = get("/v1/audit/verify").json();
  EXPECT_EQ(reply["ok"], true) << reply.dump();
  EXPECT_NE(reply["first_names"], telemetry::audit_origin);
}

TEST_F(ServerTest, MetricsTellOfRollouts) {
  const auto text = get("/metrics").body;
  for (const char* line : {
           "teal_rollout_phase{group=\"front\",phase=\"shifting\"} 1\n",
           "teal_rollout_phase{group=\"front\",phase=\"done\"} 0\n",
           "teal_rollout_step{group=\"front\"} 2\n",
           "teal_rollout_target_share_ratio{group=\"front\",pool=\"green\"} 0.1\n",
           "teal_pool_flows_begun_total{service=\"web\",pool=\"blue\"} 9000\n",
           "teal_pool_handshake_failures_total{service=\"web\",pool=\"green\",reason=\"refused\"} 1\n",
           "teal_pool_resets_total{service=\"web\",pool=\"green\",when=\"early\"} 1\n",
           "teal_pool_handshake_seconds_bucket{service=\"web\",pool=\"green\",le=\"0.000244140625\"} 0\n",
           "teal_pool_handshake_seconds_bucket{service=\"web\",pool=\"green\",le=\"0.0009765625\"} 989\n",
           "teal_pool_handshake_seconds_bucket{service=\"web\",pool=\"green\",le=\"+Inf\"} 999\n",
           "teal_pool_handshake_seconds_count{service=\"web\",pool=\"green\"} 999\n",
       })
    EXPECT_NE(text.find(line), std::string::npos) << line;
}

}  // namespace
}  // namespace teal::control
