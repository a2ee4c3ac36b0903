// SPDX-License-Identifier: Apache-2.0
#include "health/http_client.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "loopback.h"

namespace teal::health {
namespace {

class HttpClientTest : public testing::Test {
 protected:
  asio::io_context io;
  HttpClient client{io};

  HttpReply get(const std::string& url, milliseconds timeout = milliseconds(5000), size_t keep_body = 65536) {
    HttpRequest request;
    request.url = parse_url(url).url.value();
    request.timeout = timeout;
    request.keep_body = keep_body;
    return send(request);
  }
  HttpReply send(const HttpRequest& request) {
    std::optional<HttpReply> got;
    const auto call = client.send(request, [&](const HttpReply& r) {
      EXPECT_FALSE(got) << "called twice";
      got = r;
    });
    EXPECT_FALSE(got) << "called from within send()";
    EXPECT_TRUE(run_until(io, [&] { return got.has_value(); })) << "never called";
    return got.value_or(HttpReply{});
  }
};

TEST(Url, IsTakenApart) {
  const auto parse = [](const std::string& text) { return parse_url(text).url.value(); };
  Url url = parse("http://127.0.0.1:9090/prefix/x?a=b#part");
  EXPECT_EQ(url.tls, false);
  EXPECT_EQ(url.host, "127.0.0.1");
  EXPECT_EQ(url.port, 9090);
  EXPECT_EQ(url.target, "/prefix/x?a=b");
  EXPECT_EQ(url.authority(), "127.0.0.1:9090");
  url = parse("https://[2001:db8::1]");
  EXPECT_EQ(url.host, "2001:db8::1");
  EXPECT_EQ(url.port, 443);
  EXPECT_EQ(url.target, "/");
  EXPECT_EQ(url.authority(), "[2001:db8::1]");
  EXPECT_EQ(parse("http://[::1]:8080").authority(), "[::1]:8080");
  EXPECT_EQ(parse("http://a-b.example?x").target, "/?x");
  EXPECT_EQ(parse("https://a.example:80").authority(), "a.example:80");
}

TEST(Url, WhatIsWrongIsSaid) {
  for (const char* text :
       {"", "a.example", "ftp://a.example", "http://", "http://:80", "http://a.example:", "http://a:0",
        "http://a:65536", "http://a:8x", "http://u:p@a", "http://[::1", "http://[1.2.3.4]", "http://[::1]8",
        "http://a/b c", "http://a/\r\nX: y", "http://a/\xc3\xa4", "http://a,b/"}) {
    const UrlResult result = parse_url(text);
    EXPECT_FALSE(result.url) << text;
    EXPECT_NE(result.error.find("expected http://HOST"), std::string::npos) << text << ": " << result.error;
  }
}

TEST_F(HttpClientTest, SendsAndReads) {
  Server server(io, {.reply = answer(201, "made", "X-Other: 1\r\n")});
  HttpRequest request;
  request.url = parse_url(server.url("/a?b=c")).url.value();
  request.method = "POST";
  request.content_type = "text/plain";
  request.body = "some body";
  request.timeout = milliseconds(5000);
  const HttpReply reply = send(request);
  EXPECT_EQ(reply.error, "");
  EXPECT_EQ(reply.status, 201);
  EXPECT_EQ(reply.body, "made");
  EXPECT_FALSE(reply.truncated);
  EXPECT_GT(reply.duration.count(), 0);
  ASSERT_EQ(server.requests.size(), 1u);
  const std::string& sent = server.requests[0];
  EXPECT_TRUE(sent.starts_with("POST /a?b=c HTTP/1.1\r\n")) << sent;
  EXPECT_NE(sent.find("\r\nHost: 127.0.0.1:" + std::to_string(server.port()) + "\r\n"), std::string::npos) << sent;
  EXPECT_NE(sent.find("\r\nConnection: close\r\n"), std::string::npos) << sent;
  EXPECT_NE(sent.find("\r\nContent-Type: text/plain\r\n"), std::string::npos) << sent;
  EXPECT_TRUE(sent.ends_with("\r\n\r\nsome body")) << sent;
}

TEST_F(HttpClientTest, EveryWayToEndABody) {
  Server server(io);
  server.behaviour.reply =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
  server.behaviour.keep_open = true;
  EXPECT_EQ(get(server.url()).body, "hello world");
  server.behaviour = {.reply = "HTTP/1.0 200 OK\r\n\r\nup to the end"};
  EXPECT_EQ(get(server.url()).body, "up to the end");
  server.behaviour = {.reply = "HTTP/1.1 204 None\r\n\r\n", .keep_open = true};
  EXPECT_EQ(get(server.url()).status, 204);
  server.behaviour = {.reply = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Go on\r\n\r\n" + answer(503, "x"),
                      .keep_open = true};
  EXPECT_EQ(get(server.url()).status, 503);
  EXPECT_EQ(get(server.url()).body, "x");
}

TEST_F(HttpClientTest, ReadsNoMoreThanItKeeps) {
  Server server(io, {.reply = answer(200, std::string(300000, 'x')), .keep_open = true});
  HttpReply reply = get(server.url(), milliseconds(5000), 10000);
  EXPECT_EQ(reply.error, "");
  EXPECT_EQ(reply.body, std::string(10000, 'x'));
  EXPECT_TRUE(reply.truncated);
  // A length that nobody could hold must not be reserved.
  server.behaviour.reply = "HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000000\r\n\r\n" + std::string(20000, 'y');
  reply = get(server.url(), milliseconds(5000), 10000);
  EXPECT_EQ(reply.body, std::string(10000, 'y'));
  EXPECT_TRUE(reply.truncated);
}

TEST_F(HttpClientTest, BrokenAnswersAreErrors) {
  Server server(io);
  const auto error_of = [&](const Behaviour& b) {
    server.behaviour = b;
    const HttpReply reply = get(server.url());
    EXPECT_FALSE(reply.local);
    return reply.error;
  };
  EXPECT_EQ(error_of({.hang_up = true}), "the peer closed the connection while waiting for the answer");
  EXPECT_NE(error_of({.reply = "SSH-2.0-OpenSSH_9.2\r\n\r\n"}), "");
  EXPECT_NE(error_of({.reply = "HTTP/1.1 200 OK\r\nX: " + std::string(20000, 'x') + "\r\n\r\n"}), "");
  EXPECT_NE(error_of({.reply = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"}), "");
}

TEST_F(HttpClientTest, RefusedIsSaid) {
  const RefusingPort port(io);
  const HttpReply reply = get("http://" + port.endpoint().str());
  EXPECT_EQ(reply.error, "Connection refused while connecting");
  EXPECT_EQ(reply.status, 0);
  EXPECT_FALSE(reply.local);
}

TEST_F(HttpClientTest, TimesOutWhereverThePeerStops) {
  const auto timed = [&](const std::string& url) {
    const auto begun = Clock::now();
    const HttpReply reply = get(url, milliseconds(150));
    EXPECT_GE(Clock::now() - begun, milliseconds(150));
    EXPECT_GE(reply.duration, milliseconds(150));
    return reply.error;
  };
  Server server(io, {.silent = true});
  EXPECT_TRUE(timed(server.url()).starts_with("timed out after 150 ms while waiting for the answer"));
  server.behaviour = {.delay = milliseconds(2000)};
  EXPECT_TRUE(timed(server.url()).starts_with("timed out after 150 ms while waiting for the answer"));
  server.behaviour = {.reply = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", .keep_open = true};
  EXPECT_TRUE(timed(server.url()).starts_with("timed out after 150 ms while reading the answer's body"));
  // To a full accept queue, a SYN gets no answer.
  tcp::acceptor full(io, tcp::v4());
  full.bind({asio::ip::address_v4::loopback(), 0});
  full.listen(0);
  std::vector<tcp::socket> fill;
  for (int i = 0; i < 4; i++) {
    fill.emplace_back(io, tcp::v4());
    const auto to = full.local_endpoint();
    fcntl(fill.back().native_handle(), F_SETFL, O_NONBLOCK);
    EXPECT_EQ(connect(fill.back().native_handle(), to.data(), static_cast<socklen_t>(to.size())), -1);
    EXPECT_EQ(errno, EINPROGRESS);
  }
  EXPECT_TRUE(timed("http://127.0.0.1:" + std::to_string(full.local_endpoint().port()))
                  .starts_with("timed out after 150 ms while connecting"));
}

TEST_F(HttpClientTest, NamesAreResolved) {
  Server server(io);
  const HttpReply reply = get("http://localhost:" + std::to_string(server.port()));
  EXPECT_EQ(reply.error, "");
  EXPECT_EQ(reply.status, 200);
}

TEST_F(HttpClientTest, NothingBreaksOutOfARequestLine) {
  Server server(io);
  HttpRequest request;
  request.url = parse_url(server.url()).url.value();
  request.host = "a\r\nX-Smuggled: 1";
  EXPECT_NE(send(request).error, "");
  request.host = "a";
  request.url.target = "/a HTTP/1.1\r\nX: y";
  EXPECT_NE(send(request).error, "");
  EXPECT_TRUE(server.accepted.empty());
}

TEST_F(HttpClientTest, CancelledIsNotCalled) {
  Server server(io, {.delay = milliseconds(100)});
  HttpRequest request;
  request.url = parse_url(server.url()).url.value();
  bool called = false;
  const auto early = client.send(request, [&](const HttpReply&) { called = true; });
  early->cancel();
  const auto late = client.send(request, [&](const HttpReply&) { called = true; });
  ASSERT_TRUE(run_until(io, [&] { return !server.requests.empty(); }));
  late->cancel();
  run_for(io, milliseconds(200));
  EXPECT_FALSE(called);
  EXPECT_EQ(server.accepted.size(), 1u);
  EXPECT_EQ(server.open(), 0u);
}

TEST_F(HttpClientTest, ABusyThreadIsNotThePeersFault) {
  Server server(io, {.silent = true});
  std::optional<HttpReply> got;
  HttpRequest request;
  request.url = parse_url(server.url()).url.value();
  request.timeout = milliseconds(100);
  const auto call = client.send(request, [&](const HttpReply& r) { got = r; });
  ASSERT_TRUE(run_until(io, [&] { return server.open() == 1; }));
  std::this_thread::sleep_for(milliseconds(400));
  ASSERT_TRUE(run_until(io, [&] { return got.has_value(); }));
  EXPECT_TRUE(got->local);
  EXPECT_NE(got->error.find("this host was busy"), std::string::npos) << got->error;
}

TEST_F(HttpClientTest, NoDescriptorsLeftIsNotThePeersFault) {
  Server server(io);
  run_for(io, milliseconds(1));
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const int next = dup(0);  // the lowest free one
  close(next);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(next);
  setrlimit(RLIMIT_NOFILE, &none);
  const HttpReply reply = get(server.url());
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(reply.local);
  EXPECT_EQ(reply.error, "Too many open files while connecting");
}

TEST_F(HttpClientTest, ConnectAloneSendsNothing) {
  Server server(io);
  std::optional<HttpReply> got;
  const auto call = client.connect(server.endpoint(), milliseconds(1000), [&](const HttpReply& r) { got = r; });
  ASSERT_TRUE(run_until(io, [&] { return got.has_value(); }));
  EXPECT_EQ(got->error, "");
  EXPECT_EQ(got->status, 0);
  EXPECT_TRUE(run_until(io, [&] { return server.accepted.size() == 1 && server.open() == 0; }));
  EXPECT_TRUE(server.requests.empty());
}

}  // namespace
}  // namespace teal::health
