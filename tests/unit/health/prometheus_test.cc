// SPDX-License-Identifier: Apache-2.0
// Answers taken apart and judged; then a real Prometheus, asked over loopback.
#include "health/prometheus.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "loopback.h"

namespace teal::health {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();

std::string vector_of(const std::string& values) {
  return R"({"status":"success","data":{"resultType":"vector","result":[)" + values + "]}}";
}

TEST(QueryAnswer, VectorsAndScalars) {
  QueryResult r = parse_query_answer(
      200, vector_of(R"({"metric":{"a":"b"},"value":[1,"1.5"]},{"metric":{},"value":[1.25,"-2e-3"]})"));
  EXPECT_EQ(r.error, "");
  EXPECT_EQ(r.values, (std::vector<double>{1.5, -0.002}));
  r = parse_query_answer(200, R"({"status":"success","data":{"resultType":"scalar","result":[1,"7"]}})");
  EXPECT_EQ(r.error, "");
  EXPECT_EQ(r.values, std::vector<double>{7});
  r = parse_query_answer(200, vector_of(""));
  EXPECT_EQ(r.error, "");
  EXPECT_TRUE(r.values.empty());
  r = parse_query_answer(200, vector_of(R"({"value":[1,"NaN"]},{"value":[1,"+Inf"]},{"value":[1,"-Inf"]})"));
  ASSERT_EQ(r.values.size(), 3u) << r.error;
  EXPECT_TRUE(std::isnan(r.values[0]));
  EXPECT_EQ(r.values[1], inf);
  EXPECT_EQ(r.values[2], -inf);
}

TEST(QueryAnswer, AnythingElseIsAnError) {
  const auto error = [](int status, const std::string& body) {
    const QueryResult r = parse_query_answer(status, body);
    EXPECT_TRUE(r.values.empty());
    return r.error;
  };
  EXPECT_EQ(error(400, R"({"status":"error","errorType":"bad_data","error":"parse error"})"), "bad_data: parse error");
  EXPECT_EQ(error(502, "<html>Bad gateway"), "status 502 and no JSON object, expected an answer of Prometheus");
  EXPECT_EQ(error(200, "[]"), "status 200 and no JSON object, expected an answer of Prometheus");
  EXPECT_EQ(error(200, "{}"), "status 200 and no \"status\": \"success\"");
  EXPECT_EQ(error(200, R"({"status":"success"})"), "no data in the answer");
  EXPECT_EQ(error(200, R"({"status":"success","data":[]})"), "no data in the answer");
  EXPECT_EQ(error(200, R"({"status":"success","data":{"resultType":"matrix","result":[]}})"),
            "a result of type \"matrix\", expected an instant vector or a scalar");
  EXPECT_EQ(error(200, R"({"status":"success","data":{"resultType":"string","result":[1,"x"]}})"),
            "a result of type \"string\", expected an instant vector or a scalar");
  EXPECT_EQ(error(200, R"({"status":"success","data":{"resultType":"scalar","result":[1,"x"]}})"),
            "a scalar without a number");
  for (const char* series : {R"({"metric":{}})", R"({"value":[1]})", R"({"value":[1,2]})", R"({"value":[1,"1x"]})",
                             R"({"histogram":[1,{"count":"1"}]})", "7"})
    EXPECT_NE(error(200, vector_of(series)), "") << series;
}

TEST(Query, PlaceholdersAreFilledIn) {
  EXPECT_EQ(fill_in(R"(rate(x{service="{{service}}",pool="{{pool}}"}[1m]) / {{service}})", "web", "green"),
            R"(rate(x{service="web",pool="green"}[1m]) / web)");
  EXPECT_EQ(fill_in("{{pool}}", "a", "{{service}}"), "{{service}}");
  EXPECT_EQ(fill_in(R"("{{service}}")", R"(a"b\c)", ""), R"("a\"b\\c")");
  EXPECT_EQ(fill_in("{{other}}{{", "a", "b"), "{{other}}{{");
}

TEST(Judge, EverySeriesHasToHold) {
  model::PrometheusRule below{"errors", "", "", true, 0.05}, above{"ready", "", "", false, 2};
  const auto judged = [](const model::PrometheusRule& rule, const std::vector<double>& values) {
    return judge(rule, {values, ""}).judgement;
  };
  EXPECT_EQ(judged(below, {0.01, 0.04}), Judgement::pass);
  EXPECT_EQ(judged(below, {0.01, 0.06}), Judgement::fail);
  EXPECT_EQ(judged(below, {0.05}), Judgement::fail);
  EXPECT_EQ(judged(above, {3}), Judgement::pass);
  EXPECT_EQ(judged(above, {2}), Judgement::fail);
  EXPECT_EQ(judged(above, {3, 1}), Judgement::fail);
  EXPECT_EQ(judged(below, {}), Judgement::insufficient);
  for (const double odd : {nan, inf, -inf}) {
    EXPECT_EQ(judged(below, {odd}), Judgement::insufficient);
    EXPECT_EQ(judged(above, {odd}), Judgement::insufficient);
    EXPECT_EQ(judged(below, {0.01, odd}), Judgement::insufficient);
    EXPECT_EQ(judged(below, {odd, 0.06}), Judgement::fail);
  }
  EXPECT_EQ(judge(below, {{0.01, 0.06, 0.2}, ""}).text, "errors: 0.2, expected below 0.05 (2 of 3 series)");
  EXPECT_EQ(judge(above, {{1, 0.5, 3}, ""}).text, "ready: 0.5, expected above 2 (2 of 3 series)");
  EXPECT_EQ(judge(below, {{nan, 0.01}, ""}).text, "errors: nan, expected below 0.05 (1 of 2 series)");
  EXPECT_EQ(judge(below, {{}, ""}).text, "errors: no series, expected below 0.05");
  EXPECT_EQ(judge(below, {{}, "refused"}).judgement, Judgement::insufficient);
  EXPECT_EQ(judge(below, {{}, "refused"}).text, "errors: refused");
}

class PrometheusTest : public testing::Test {
 protected:
  asio::io_context io;
  Prometheus prometheus{io};

  QueryResult ask(const std::string& url, const std::string& promql, milliseconds timeout = milliseconds(5000)) {
    std::optional<QueryResult> got;
    const auto call = prometheus.query(url, promql, timeout, [&](const QueryResult& r) { got = r; });
    EXPECT_FALSE(got) << "called from within query()";
    EXPECT_TRUE(run_until(io, [&] { return got.has_value(); }));
    return got.value_or(QueryResult{{}, "never called"});
  }
};

TEST_F(PrometheusTest, WhatIsSent) {
  Server server(io, {.reply = answer(200, vector_of(R"({"value":[1,"4"]})"))});
  EXPECT_EQ(ask(server.url("/some/prefix"), "sum(a{b=\"c d\"}) + 1&x=y").values, std::vector<double>{4});
  ask(server.url("/"), "up");
  EXPECT_TRUE(server.requests.at(0).starts_with("POST /some/prefix/api/v1/query HTTP/1.1\r\n")) << server.requests[0];
  EXPECT_TRUE(
      server.requests.at(0).ends_with("\r\n\r\nquery=sum%28a%7Bb%3D%22c%20d%22%7D%29%20%2B%201%26x%3Dy&timeout=5000ms"))
      << server.requests[0];
  EXPECT_TRUE(server.requests.at(1).starts_with("POST /api/v1/query HTTP/1.1\r\n")) << server.requests[1];
}

TEST_F(PrometheusTest, ErrorsOfTheWay) {
  const RefusingPort refusing(io);
  EXPECT_EQ(ask("http://" + refusing.endpoint().str(), "up").error, "Connection refused while connecting");
  EXPECT_NE(ask("prometheus:9090", "up").error.find("expected http://HOST"), std::string::npos);
  Server silent(io, {.silent = true});
  EXPECT_TRUE(ask(silent.url(), "up", milliseconds(100)).error.starts_with("timed out after 100 ms"));
  Server flood(io, {.reply = answer(200, std::string(2 << 20, ' '))});
  EXPECT_NE(ask(flood.url(), "up").error.find("more than 1 MiB"), std::string::npos);
}

// /usr/bin/prometheus on a free port of loopback, scraping itself each second.
class RealPrometheusTest : public PrometheusTest {
 protected:
  void SetUp() override {
    if (access("/usr/bin/prometheus", X_OK) != 0)
      GTEST_SKIP() << "/usr/bin/prometheus is not installed; scripts/deps installs it";
    {
      tcp::acceptor probe(io, {asio::ip::address_v4::loopback(), 0});
      address = "127.0.0.1:" + std::to_string(probe.local_endpoint().port());
    }
    std::ofstream(directory / "prometheus.yml") << "global: {scrape_interval: 1s}\n"
                                                << "scrape_configs:\n"
                                                << "  - job_name: itself\n"
                                                << "    static_configs: [{targets: ['" << address << "']}]\n";
    std::vector<std::string> words = {"/usr/bin/prometheus", "--config.file=" + directory / "prometheus.yml",
                                      "--storage.tsdb.path=" + directory / "data", "--web.listen-address=" + address,
                                      "--log.level=error"};
    std::vector<char*> argv;
    for (std::string& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, (directory / "log").c_str(), O_WRONLY | O_CREAT, 0600);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    const int error = posix_spawn(&pid, argv[0], &files, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    ASSERT_EQ(error, 0);
    const auto end = Clock::now() + std::chrono::seconds(40);
    while (ask(url(), "up").values != std::vector<double>{1}) {
      ASSERT_LT(Clock::now(), end) << "no answer: " << ask(url(), "up").error;
      run_for(io, milliseconds(200));
    }
  }
  void TearDown() override {
    if (pid < 0) return;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  [[nodiscard]] std::string url() const { return "http://" + address; }

  TemporaryDirectory directory;
  std::string address;
  pid_t pid = -1;
};

TEST_F(RealPrometheusTest, IsAskedAndJudged) {
  EXPECT_EQ(ask(url(), "prometheus_build_info").values, std::vector<double>{1});
  EXPECT_EQ(ask(url(), fill_in(R"(up{job="{{service}}"})", "itself", "green")).values, std::vector<double>{1});
  EXPECT_EQ(ask(url(), "scalar(up) * 2.5").values, std::vector<double>{2.5});
  EXPECT_GT(ask(url(), "go_gc_duration_seconds").values.size(), 1u);
  const QueryResult none = ask(url(), "up{job=\"nobody\"}");
  EXPECT_EQ(none.error, "");
  EXPECT_TRUE(none.values.empty());
  EXPECT_TRUE(std::isnan(ask(url(), "up * 0 / 0").values.at(0)));
  EXPECT_EQ(ask(url(), "-up / 0").values.at(0), -inf);
  EXPECT_TRUE(ask(url(), "up{").error.starts_with("bad_data: ")) << ask(url(), "up{").error;
  EXPECT_NE(ask(url(), "up[5m]").error.find("\"matrix\""), std::string::npos);

  const auto judged = [&](const std::string& query, double threshold) {
    const model::PrometheusRule rule{"rule", url(), query, true, threshold};
    return judge(rule, ask(rule.url, rule.query));
  };
  EXPECT_EQ(judged("up", 2).judgement, Judgement::pass);
  EXPECT_EQ(judged("up", 1).judgement, Judgement::fail);
  EXPECT_EQ(judged("up", 1).text, "rule: 1, expected below 1 (1 of 1 series)");
  EXPECT_EQ(judged("up / 0", 1).judgement, Judgement::insufficient);
  EXPECT_EQ(judged("nothing_of_this_name", 1).judgement, Judgement::insufficient);
  EXPECT_EQ(judged("up{", 1).judgement, Judgement::insufficient);
}

}  // namespace
}  // namespace teal::health
