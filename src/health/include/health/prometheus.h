// SPDX-License-Identifier: Apache-2.0
// Asks a Prometheus (or what speaks its HTTP API) for the value of a query now, and judges it by a rule.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "health/http_client.h"
#include "model/release_config.h"

namespace teal::health {

// Without an error: one value a series, NaN and infinities as they are; an empty vector is a result, too.
struct QueryResult {
  std::vector<double> values;
  std::string error;
};

// Body of an answer of /api/v1/query; vector and scalar results. Anything else is an error.
QueryResult parse_query_answer(int status, const std::string& body);

// "{{service}}" and "{{pool}}" in PromQL replaced, as inside a double-quoted PromQL string.
std::string fill_in(const std::string& query, const std::string& service, const std::string& pool);

enum class Judgement : uint8_t { pass, fail, insufficient };
struct PrometheusVerdict {
  Judgement judgement = Judgement::insufficient;
  std::string text;  // one line: the rule's name, what was found and what was expected
};

// fail: a finite value breaks the rule, whatever the other series say. insufficient: the query failed, gave no series,
// or gave a NaN or an infinity (0/0, x/0: nothing to divide by) beside values that hold. pass: every value holds. Equal
// to the threshold does not hold.
PrometheusVerdict judge(const model::PrometheusRule& rule, const QueryResult& result);

// For use by the io_context's one thread.
class Prometheus {
 public:
  explicit Prometheus(boost::asio::io_context& io) : client_(io) {}

  // `url`: of the server, "http://127.0.0.1:9090", or with a path in front of its own. Calls `done` exactly once, never
  // from within query(), unless the call is cancelled. Redirects are errors. At most 1 MiB of an answer is read.
  std::shared_ptr<HttpCall> query(const std::string& url, const std::string& promql, std::chrono::milliseconds timeout,
                                  std::function<void(const QueryResult&)> done);

 private:
  HttpClient client_;
};

}  // namespace teal::health
