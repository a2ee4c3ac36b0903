// SPDX-License-Identifier: Apache-2.0
#include "health/prometheus.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

namespace teal::health {
namespace {

using Json = nlohmann::json;

// A sample is [time, "value"].
bool value_of(const Json& sample, double* out) {
  if (!sample.is_array() || sample.size() != 2 || !sample[1].is_string()) return false;
  std::string_view text = sample[1].get_ref<const std::string&>();
  if (text.starts_with('+')) text.remove_prefix(1);  // "+Inf"
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size();
}

std::string text_of(const Json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

std::string percent_encoded(const std::string& text) {
  static constexpr char hex[] = "0123456789ABCDEF";
  std::string out;
  for (const unsigned char c : text) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
        c == '_') {
      out += static_cast<char>(c);
    } else {
      out += '%';
      out += hex[c >> 4];
      out += hex[c & 15];
    }
  }
  return out;
}

std::string number(double v) {
  std::ostringstream out;
  out << v;
  return out.str();
}

}  // namespace

QueryResult parse_query_answer(int status, const std::string& body) {
  const Json answer = Json::parse(body, nullptr, false);
  if (!answer.is_object())
    return {{}, "status " + std::to_string(status) + " and no JSON object, expected an answer of Prometheus"};
  if (text_of(answer, "status") != "success") {
    const std::string type = text_of(answer, "errorType"), what = text_of(answer, "error");
    if (type.empty() && what.empty())
      return {{}, "status " + std::to_string(status) + " and no \"status\": \"success\""};
    return {{}, type + ": " + what};
  }
  const auto data = answer.find("data");
  if (data == answer.end() || !data->is_object() || !data->contains("result")) return {{}, "no data in the answer"};
  const std::string type = text_of(*data, "resultType");
  const Json& result = (*data)["result"];
  QueryResult out;
  double v = 0;
  if (type == "scalar") {
    if (!value_of(result, &v)) return {{}, "a scalar without a number"};
    out.values.push_back(v);
    return out;
  }
  if (type != "vector" || !result.is_array())
    return {{}, "a result of type \"" + type + "\", expected an instant vector or a scalar"};
  for (const Json& series : result) {
    if (!series.is_object() || !series.contains("value") || !value_of(series["value"], &v))
      return {{}, "a series without a number (a native histogram?), expected plain values"};
    out.values.push_back(v);
  }
  return out;
}

std::string fill_in(const std::string& query, const std::string& service, const std::string& pool) {
  const auto escaped = [](const std::string& text) {
    std::string out;
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    return out;
  };
  std::string out;
  for (size_t at = 0; at < query.size();) {
    if (query.compare(at, 11, "{{service}}") == 0) {
      out += escaped(service);
      at += 11;
    } else if (query.compare(at, 8, "{{pool}}") == 0) {
      out += escaped(pool);
      at += 8;
    } else {
      out += query[at++];
    }
  }
  return out;
}

PrometheusVerdict judge(const model::PrometheusRule& rule, const QueryResult& result) {
  const std::string want = std::string("expected ") + (rule.below ? "below " : "above ") + number(rule.threshold);
  if (!result.error.empty()) return {Judgement::insufficient, rule.name + ": " + result.error};
  if (result.values.empty()) return {Judgement::insufficient, rule.name + ": no series, " + want};
  size_t broken = 0, odd = 0;
  double worst = 0, strange = 0;
  for (const double v : result.values) {
    if (!std::isfinite(v)) {
      strange = v;
      odd++;
    } else if (rule.below ? v >= rule.threshold : v <= rule.threshold) {
      if (broken++ == 0 || (rule.below ? v > worst : v < worst)) worst = v;
    }
  }
  const std::string of = " of " + std::to_string(result.values.size()) + " series";
  if (broken > 0)
    return {Judgement::fail, rule.name + ": " + number(worst) + ", " + want + " (" + std::to_string(broken) + of + ")"};
  if (odd > 0)
    return {Judgement::insufficient,
            rule.name + ": " + number(strange) + ", " + want + " (" + std::to_string(odd) + of + ")"};
  return {Judgement::pass, rule.name + ": holds, " + want + " (" + std::to_string(result.values.size()) + " series)"};
}

std::shared_ptr<HttpCall> Prometheus::query(const std::string& url, const std::string& promql,
                                            std::chrono::milliseconds timeout,
                                            std::function<void(const QueryResult&)> done) {
  const UrlResult server = parse_url(url);
  if (!server.url)
    return client_.refuse(server.error, [done = std::move(done)](const HttpReply& r) { done({{}, r.error}); });
  HttpRequest request;
  request.url = *server.url;
  request.url.target += request.url.target.ends_with('/') ? "api/v1/query" : "/api/v1/query";
  // POST: a long query does not fit everybody's request line, and no cache answers instead.
  request.method = "POST";
  request.content_type = "application/x-www-form-urlencoded";
  request.body = "query=" + percent_encoded(promql) + "&timeout=" + std::to_string(timeout.count()) + "ms";
  request.timeout = timeout;
  request.keep_body = 1 << 20;
  return client_.send(std::move(request), [done = std::move(done)](const HttpReply& reply) {
    if (!reply.error.empty()) return done({{}, reply.error});
    if (reply.truncated) return done({{}, "an answer of more than 1 MiB; expected a query with few series"});
    done(parse_query_answer(reply.status, reply.body));
  });
}

}  // namespace teal::health
