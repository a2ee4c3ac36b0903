// SPDX-License-Identifier: Apache-2.0
// HTTPS with a certificate that the openssl command made: who is believed, and which name is asked for.
#include <openssl/ssl.h>

#include <cstdlib>

#include "health/checks.h"
#include "health/http_client.h"
#include "loopback.h"

namespace teal::health {
namespace {

class TlsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory = new TemporaryDirectory;
    const std::string command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=teal.test -keyout " +
                                *directory / "key.pem" + " -out " + *directory / "certificate.pem" +
                                " -addext subjectAltName=DNS:teal.test,IP:127.0.0.1 2>/dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }
  static void TearDownTestSuite() {
    delete directory;
    directory = nullptr;
  }
  void SetUp() override {
    context.use_certificate_chain_file(*directory / "certificate.pem");
    context.use_private_key_file(*directory / "key.pem", asio::ssl::context::pem);
    unsetenv("SSL_CERT_FILE");
  }
  void TearDown() override { unsetenv("SSL_CERT_FILE"); }
  static void believe_our_own() { setenv("SSL_CERT_FILE", (*directory / "certificate.pem").c_str(), 1); }

  HttpReply get(const Server& server, bool verify, const std::string& name) {
    HttpClient client(io);
    HttpRequest request;
    request.url = parse_url(server.url()).url.value();
    request.server_name = name;
    request.verify_certificate = verify;
    request.timeout = milliseconds(5000);
    std::optional<HttpReply> got;
    const auto call = client.send(request, [&](const HttpReply& r) { got = r; });
    EXPECT_TRUE(run_until(io, [&] { return got.has_value(); }));
    return got.value_or(HttpReply{});
  }

  static TemporaryDirectory* directory;
  asio::io_context io;
  asio::ssl::context context{asio::ssl::context::tls_server};
};
TemporaryDirectory* TlsTest::directory = nullptr;

TEST_F(TlsTest, UnverifiedItIsReadWhoeverItIs) {
  Server server(io, {.reply = answer(200, "secret")}, &context);
  const HttpReply reply = get(server, false, "other.test");
  EXPECT_EQ(reply.error, "");
  EXPECT_EQ(reply.body, "secret");
  EXPECT_EQ(server.server_names, std::vector<std::string>{"other.test"});
}

TEST_F(TlsTest, AnUnknownAuthorityIsRefused) {
  Server server(io, {}, &context);
  const HttpReply reply = get(server, true, "teal.test");
  EXPECT_TRUE(reply.error.starts_with("certificate refused: self")) << reply.error;
  EXPECT_FALSE(reply.local);
  EXPECT_TRUE(server.requests.empty());
}

TEST_F(TlsTest, AKnownAuthorityIsBelievedForItsNamesOnly) {
  believe_our_own();
  Server server(io, {}, &context);
  EXPECT_EQ(get(server, true, "teal.test").error, "");
  EXPECT_EQ(get(server, true, "").error, "");  // the address
  EXPECT_TRUE(get(server, true, "other.test").error.starts_with("certificate refused: ")) << "another name";
  EXPECT_TRUE(get(server, true, "127.0.0.2").error.starts_with("certificate refused: ")) << "another address";
  // No SNI for addresses (RFC 6066, 3).
  EXPECT_TRUE(run_until(io, [&] { return server.server_names.size() == 4; }));
  EXPECT_EQ(server.server_names, (std::vector<std::string>{"teal.test", "", "other.test", ""}));
}

TEST_F(TlsTest, AnEndWithoutCloseNotifyEndsABodyWithoutLength) {
  Server server(io, {.reply = "HTTP/1.0 200 OK\r\n\r\nall of it"}, &context);
  const HttpReply reply = get(server, false, "");
  EXPECT_EQ(reply.error, "");
  EXPECT_EQ(reply.body, "all of it");
}

TEST_F(TlsTest, APlainServerAndASilentOneFailTheHandshake) {
  Server plain(io, {.hang_up = true});
  HttpClient client(io);
  HttpRequest request;
  request.url = parse_url("https://127.0.0.1:" + std::to_string(plain.port())).url.value();
  request.timeout = milliseconds(200);
  std::optional<HttpReply> got;
  auto call = client.send(request, [&](const HttpReply& r) { got = r; });
  ASSERT_TRUE(run_until(io, [&] { return got.has_value(); }));
  EXPECT_EQ(got->error, "the peer closed the connection while in the TLS handshake");
  plain.behaviour = {.silent = true};
  got.reset();
  call = client.send(request, [&](const HttpReply& r) { got = r; });
  ASSERT_TRUE(run_until(io, [&] { return got.has_value(); }));
  EXPECT_TRUE(got->error.starts_with("timed out after 200 ms while in the TLS handshake")) << got->error;
}

TEST_F(TlsTest, ChecksUseTheHostsName) {
  believe_our_own();
  Server server(io, {}, &context);
  std::vector<Change> changes;
  Checker checker(io, [&](const Change& c) { changes.push_back(c); });
  Target target{"web", "a", server.endpoint(), {}};
  target.config.check = model::CheckKind::https;
  target.config.host = "teal.test:8443";
  target.config.verify_certificate = true;
  target.config.interval_ms = 100;
  target.config.timeout_ms = 5000;
  target.config.rise = target.config.fall = 1;
  checker.set_targets({target});
  ASSERT_TRUE(run_until(io, [&] { return !changes.empty(); }));
  EXPECT_EQ(changes[0].state, State::up) << changes[0].reason;
  EXPECT_EQ(server.server_names.at(0), "teal.test");
  EXPECT_NE(server.requests.at(0).find("\r\nHost: teal.test:8443\r\n"), std::string::npos);
  target.config.host = "other.test";
  checker.set_targets({target});
  ASSERT_TRUE(run_until(io, [&] { return changes.size() == 2; }));
  EXPECT_EQ(changes[1].state, State::down);
  EXPECT_NE(changes[1].reason.find("certificate refused"), std::string::npos) << changes[1].reason;
}

}  // namespace
}  // namespace teal::health
