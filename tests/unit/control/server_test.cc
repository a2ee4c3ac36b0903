// SPDX-License-Identifier: Apache-2.0
// The control server over a real Unix socket: what it answers, and what it refuses with which words.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "server_fixture.h"

namespace teal::control {
namespace {

TEST_F(ServerTest, AnswersEveryRoute) {
  const auto status = get("/v1/status");
  EXPECT_EQ(status.status, 200);
  EXPECT_EQ(status.header("content-type"), "application/json");
  EXPECT_EQ(status.json()["version"], "1.2.3");
  EXPECT_EQ(status.json()["ports"][0]["rx_packets"], 9000000);
  EXPECT_EQ(get("/v1/services").json()["services"].size(), 3u);
  EXPECT_EQ(get("/v1/services/web").json()["pools"]["blue"]["backends"][1]["id"], "10.0.0.2:80");
  EXPECT_EQ(get("/v1/counters").json()["drops"]["tx_full"], 1234567);
  EXPECT_EQ(get("/v1/flows").json()["flows"].size(), 2u);
  EXPECT_EQ(get("/v1/which?service=web&client=198.51.100.7:40000").json()["why"], "entry");
  EXPECT_EQ(send("POST", "/v1/reload").json()["changes"].size(), 1u);
  EXPECT_EQ(get("/v1/audit").json()["entries"].size(), 1u);
  EXPECT_EQ(get("/metrics").header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
}

TEST_F(ServerTest, CutoverIsPassedOnWhole) {
  const auto reply = send("POST", "/v1/services/web/cutover", R"({"to":"green","expect_generation":7,"force":true})");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.json()["generation"], 8);
  EXPECT_EQ(reply.json()["services"], Json::parse(R"(["web","web-tls"])"));
  EXPECT_EQ(operations.last_cutover.service, "web");
  EXPECT_EQ(operations.last_cutover.to, model::Pool::green);
  EXPECT_EQ(operations.last_cutover.expect_generation, 7u);
  EXPECT_TRUE(operations.last_cutover.force);
  EXPECT_EQ(send("POST", "/v1/services/dns/cutover", R"({"to":"blue"})").json()["changed"], false);
  EXPECT_FALSE(operations.last_cutover.expect_generation);
  EXPECT_FALSE(operations.last_cutover.force);
}

TEST_F(ServerTest, RollbackKeepsFlowsUnlessToldToReset) {
  EXPECT_EQ(send("POST", "/v1/services/web/rollback").status, 200);
  EXPECT_FALSE(operations.last_rollback.reset_flows);
  EXPECT_EQ(send("POST", "/v1/services/web/rollback", R"({"flows":"keep"})").status, 200);
  EXPECT_FALSE(operations.last_rollback.reset_flows);
  EXPECT_EQ(send("POST", "/v1/services/web/rollback", R"({"flows":"reset"})").json()["flows_reset"], 12);
  EXPECT_TRUE(operations.last_rollback.reset_flows);
}

TEST_F(ServerTest, BackendIdsArePercentDecoded) {
  const auto reply =
      send("PATCH", "/v1/services/web/backends/%5B2001%3adb8::1%5D:80", R"({"weight":0,"state":"drain"})");
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(operations.last_patch.backend, "[2001:db8::1]:80");
  EXPECT_EQ(operations.last_patch.weight, 0u);
  EXPECT_EQ(reply.json()["backend"]["state"], "drain");
  EXPECT_EQ(send("PATCH", "/v1/services/web/backends/a%2Fb", R"({"weight":1})").json()["code"], "unknown_backend");
  EXPECT_EQ(operations.last_patch.backend, "a/b");
}

TEST_F(ServerTest, FlowQueryIsPassedOnWhole) {
  EXPECT_EQ(get("/v1/flows?service=web&pool=blue&backend=10.0.0.1%3A80&state=established&limit=100000").status, 200);
  EXPECT_EQ(operations.last_query.service, "web");
  EXPECT_EQ(operations.last_query.pool, "blue");
  EXPECT_EQ(operations.last_query.backend, "10.0.0.1:80");
  EXPECT_EQ(operations.last_query.state, "established");
  EXPECT_EQ(operations.last_query.limit, 100000u);
  get("/v1/which?service=web&client=%5B2001:db8::7%5D:1");
  EXPECT_EQ(operations.last_client, "[2001:db8::7]:1");
}

struct Bad {
  const char *method, *target, *body;
  int status;
  const char *code, *detail;
};

constexpr const char* cut = "/v1/services/web/cutover";
constexpr const char* back = "/v1/services/web/rollback";
constexpr const char* backend = "/v1/services/web/backends/10.0.0.1:80";
constexpr const char* client_form = "ADDRESS:PORT (\"192.0.2.1:40000\" or \"[2001:db8::1]:40000\")";

// An empty detail: the words are another's (the JSON parser's) and only have to be there.
const Bad bad_requests[] = {
    {"GET", "/", "", 404, "unknown_path", "found the path \"/\", expected one that docs/openapi.yaml lists"},
    {"GET", "/v1/services/", "", 404, "unknown_path", ""},
    {"GET", "/v1/status/x", "", 404, "unknown_path", ""},
    {"POST", "/v1/status", "", 405, "method_not_allowed", "found POST /v1/status, expected GET"},
    {"GET", cut, "", 405, "method_not_allowed", "found GET /v1/services/web/cutover, expected POST"},
    {"DELETE", backend, "", 405, "method_not_allowed", ""},
    {"GET", "/v1/%zz", "", 400, "malformed_path",
     "found \"%zz\" in the target, expected '%' and two hexadecimal digits"},
    {"GET", "/v1/status%4", "", 400, "malformed_path", ""},
    {"GET", "/v1/status?%", "", 400, "malformed_path", ""},
    {"GET", "*", "", 400, "malformed_path", "found the target \"*\", expected a path that begins with '/'"},
    {"GET", "/v1/status?x=1", "", 400, "unknown_parameter", "query: found the parameter \"x\", expected nothing"},
    {"GET", "/v1/flows?lmit=1", "", 400, "unknown_parameter",
     "query: found the parameter \"lmit\", expected \"service\", \"pool\", \"backend\", \"state\" or \"limit\""},
    {"GET", "/v1/flows?limit=0", "", 400, "wrong_parameter",
     "query parameter \"limit\": found \"0\", expected an integer from 1 to 100000"},
    {"GET", "/v1/flows?limit=100001", "", 400, "wrong_parameter", ""},
    {"GET", "/v1/flows?limit=-1", "", 400, "wrong_parameter", ""},
    {"GET", "/v1/flows?limit=1x", "", 400, "wrong_parameter", ""},
    {"GET", "/v1/flows?limit=", "", 400, "wrong_parameter", ""},
    {"GET", "/v1/flows?limit=99999999999999999999999", "", 400, "wrong_parameter", ""},
    {"GET", "/v1/flows?pool=red", "", 400, "wrong_parameter",
     "query parameter \"pool\": found \"red\", expected \"blue\" or \"green\""},
    {"GET", "/v1/flows?pool=blue&pool=green", "", 400, "wrong_parameter",
     "query parameter \"pool\": found it twice, expected it once"},
    {"GET", "/v1/which?client=192.0.2.1:1", "", 400, "missing_parameter",
     "query parameter \"service\": found nothing, expected the name of a service"},
    {"GET", "/v1/which?service=web", "", 400, "missing_parameter", ""},
    {"GET", "/v1/which?service=web&client=192.0.2.1", "", 400, "wrong_parameter", ""},
    {"GET", "/v1/which?service=web&client=192.0.2.1:99999", "", 400, "wrong_parameter", ""},
    {"GET", "/v1/which?service=nix&client=192.0.2.1:1", "", 404, "unknown_service",
     "found the service \"nix\", expected one of web, web-tls, dns"},
    {"GET", "/v1/services/nix", "", 404, "unknown_service", ""},
    {"GET", "/v1/services/broken", "", 500, "internal_error", "the fake is broken, as asked"},
    {"POST", cut, "", 400, "missing_key", "key \"to\": found nothing, expected \"blue\" or \"green\""},
    {"POST", cut, "{", 400, "malformed_json", ""},
    {"POST", cut, "{\"to\":\"green\"} x", 400, "malformed_json", ""},
    {"POST", cut, "{\"to\":\"\xff\"}", 400, "malformed_json", ""},
    {"POST", cut, "[]", 400, "wrong_type", "body: found an array, expected an object"},
    {"POST", cut, "3", 400, "wrong_type", "body: found the number 3, expected an object"},
    {"POST", cut, R"({"to":5})", 400, "wrong_type", "key \"to\": found the number 5, expected \"blue\" or \"green\""},
    {"POST", cut, R"({"to":null})", 400, "wrong_type", "key \"to\": found null, expected \"blue\" or \"green\""},
    {"POST", cut, R"({"to":"red"})", 400, "wrong_value",
     "key \"to\": found the string \"red\", expected \"blue\" or \"green\""},
    {"POST", cut, R"({"to":"green","too":1})", 400, "unknown_key",
     "body: found the key \"too\", expected \"to\", \"expect_generation\" or \"force\""},
    {"POST", cut, R"({"to":"green","to":"blue"})", 400, "malformed_json",
     "key \"to\": found it twice, expected it once"},
    {"POST", cut, R"({"to":"green","expect_generation":"7"})", 400, "wrong_type",
     "key \"expect_generation\": found the string \"7\", expected an integer from 0 to 18446744073709551615"},
    {"POST", cut, R"({"to":"green","expect_generation":-1})", 400, "wrong_value", ""},
    {"POST", cut, R"({"to":"green","expect_generation":7.0})", 400, "wrong_value", ""},
    {"POST", cut, R"({"to":"green","expect_generation":1e30})", 400, "wrong_value", ""},
    {"POST", cut, R"({"to":"green","force":1})", 400, "wrong_type",
     "key \"force\": found the number 1, expected true or false"},
    {"POST", cut, R"({"to":"green","expect_generation":6})", 409, "generation_moved", "found generation 7, expected 6"},
    {"POST", "/v1/services/nix/cutover", R"({"to":"green"})", 404, "unknown_service", ""},
    {"POST", "/v1/services/problem-untracked_flows/cutover", R"({"to":"green"})", 409, "untracked_flows", ""},
    {"POST", back, R"({"flows":"drop"})", 400, "wrong_value",
     "key \"flows\": found the string \"drop\", expected \"keep\" or \"reset\""},
    {"POST", back, R"({"to":"blue"})", 400, "unknown_key", ""},
    {"PATCH", backend, "{}", 400, "missing_key",
     "body: found neither \"weight\" nor \"state\", expected at least one of them"},
    {"PATCH", backend, R"({"weight":65536})", 400, "wrong_value",
     "key \"weight\": found the number 65536, expected an integer from 0 to 65535"},
    {"PATCH", backend, R"({"state":"up"})", 400, "wrong_value",
     "key \"state\": found the string \"up\", expected \"ready\", \"drain\" or \"down\""},
    {"PATCH", "/v1/services/web/backends/nix", R"({"weight":1})", 404, "unknown_backend", ""},
    {"POST", "/v1/reload", R"({"a":1})", 400, "unknown_key", "body: found the key \"a\", expected nothing"},
    {"GET", "/v1/audit?limit=10001", "", 400, "wrong_parameter", ""},
};

TEST_F(ServerTest, RefusesBadRequestsByName) {
  for (const auto& bad : bad_requests) {
    SCOPED_TRACE(std::string(bad.method) + " " + bad.target + " " + bad.body);
    const auto reply = send(bad.method, bad.target, bad.body);
    EXPECT_EQ(reply.status, bad.status);
    EXPECT_EQ(reply.header("content-type"), "application/problem+json");
    const auto problem = reply.json();
    EXPECT_EQ(problem["status"], bad.status);
    EXPECT_EQ(problem["code"], bad.code);
    EXPECT_EQ(problem["type"], "https://teal.invalid/errors/" + std::string(bad.code));
    EXPECT_FALSE(problem["title"].get<std::string>().empty());
    if (*bad.detail != '\0') {
      EXPECT_EQ(problem["detail"], bad.detail);
    } else {
      EXPECT_FALSE(problem["detail"].get<std::string>().empty());
    }
  }
  EXPECT_EQ(get("/v1/services/web").json()["generation"], 7) << "a refused request changed something";
}

TEST_F(ServerTest, DetailOfAWrongClientNamesTheForm) {
  EXPECT_EQ(get("/v1/which?service=web&client=x").json()["detail"],
            std::string("query parameter \"client\": found \"x\", expected ") + client_form);
}

TEST_F(ServerTest, WrongMethodSaysWhichIsAllowed) {
  EXPECT_EQ(send("PUT", backend).header("allow"), "PATCH");
  const auto head = send("HEAD", "/v1/status");
  EXPECT_EQ(head.status, 405);
  EXPECT_EQ(head.header("allow"), "GET");
  EXPECT_EQ(head.body, "");
}

TEST_F(ServerTest, EveryCallThatChangesLeavesALine) {
  send("POST", cut, R"({"to":"green"})");
  send("POST", cut, R"({"to":"green","expect_generation":7})");
  send("POST", cut, "{\"to\":");
  send("PATCH", backend, R"({"weight":3})");
  send("DELETE", "/v1/services/web");
  get("/v1/status");
  get("/v1/nowhere");
  const auto reply = get("/v1/audit").json();
  EXPECT_TRUE(reply["breaks"].empty()) << reply.dump();
  const auto& entries = reply["entries"];
  ASSERT_EQ(entries.size(), 5u) << "questions leave none";
  EXPECT_EQ(entries[0]["caller"]["pid"], getpid());
  EXPECT_EQ(entries[0]["caller"]["uid"], getuid());
  EXPECT_EQ(entries[0]["request"]["method"], "POST");
  EXPECT_EQ(entries[0]["request"]["path"], cut);
  EXPECT_EQ(entries[0]["request"]["body"]["to"], "green");
  EXPECT_EQ(entries[0]["outcome"], Json::parse(R"({"status":200,"code":"ok"})"));
  EXPECT_EQ(entries[0]["generation_before"], 7);
  EXPECT_EQ(entries[0]["generation_after"], 8);
  EXPECT_EQ(entries[1]["outcome"]["code"], "generation_moved");
  EXPECT_EQ(entries[1]["generation_before"], 8);
  EXPECT_EQ(entries[1]["generation_after"], 8);
  EXPECT_EQ(entries[2]["outcome"]["code"], "malformed_json");
  EXPECT_EQ(entries[2]["request"]["body"], "{\"to\":");
  EXPECT_EQ(entries[3]["generation_after"], 8);
  EXPECT_EQ(entries[4]["outcome"]["status"], 404 + 1);
  EXPECT_EQ(get("/v1/audit?limit=2").json()["entries"].size(), 2u);
}

TEST_F(ServerTest, AnEditedAuditLineShows) {
  for (int i = 0; i < 3; ++i) send("POST", "/v1/reload");
  rewrite_audit([](std::string& text) { text.replace(text.find("\"seq\":2"), 7, "\"seq\":9"); });
  const auto reply = get("/v1/audit").json();
  ASSERT_EQ(reply["breaks"].size(), 1u) << reply.dump();
  EXPECT_EQ(reply["breaks"][0]["entry"], 2);
}

TEST_F(ServerTest, AFailingAuditStopsNothingButIsTold) {
  use_audit("/dev/full");
  const auto reply = send("POST", cut, R"({"to":"green"})");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("teal-audit"), "failed");
  EXPECT_EQ(get("/v1/services/web").json()["active"], "green");
  EXPECT_EQ(get("/v1/audit").json()["failed_writes"], 1);
  EXPECT_NE(get("/metrics").body.find("teal_audit_errors_total 1\n"), std::string::npos);
}

TEST_F(ServerTest, ConfigurationErrorsAreAllNamed) {
  operations.refuse_reload = true;
  const auto reply = send("POST", "/v1/reload");
  EXPECT_EQ(reply.status, 422);
  EXPECT_EQ(reply.json()["errors"], Json::parse(R"(["teal.yaml:3:5: first","teal.yaml:9:1: second"])"));
}

TEST_F(ServerTest, MetricsNameEverything) {
  const auto text = get("/metrics").body;
  for (const char* line : {
           "teal_build_info{version=\"1.2.3\"} 1\n",
           "teal_flows_moved_total 0\n",
           "teal_flows{service=\"web\",pool=\"blue\",state=\"half_open\"} 87\n",
           "teal_flows{service=\"web\",pool=\"blue\",state=\"complete\"} 1234500\n",
           "teal_pinned_clients{service=\"web\",pool=\"blue\"} 31\n",
           "teal_pool_active{service=\"dns\",pool=\"blue\"} 1\n",
           "teal_pool_active{service=\"dns\",pool=\"green\"} 0\n",
           "teal_generation{service=\"web\"} 7\n",
           "teal_backend_packets_total{service=\"web\",pool=\"blue\",backend=\"10.0.0.2:80\"} 2000\n",
           "teal_drops_total{reason=\"tx_full\"} 1234567\n",
           "teal_events_total{event=\"rx_packets\"} 9000000\n",
           "teal_worker_busy_ratio{worker=\"0\",cpu=\"2\"} 0.25\n",
           "teal_table_census_age_seconds 0.25\n",
           "teal_control_connections 1\n",
       })
    EXPECT_NE(text.find(line), std::string::npos) << line;
}

}  // namespace
}  // namespace teal::control
