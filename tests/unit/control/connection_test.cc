// SPDX-License-Identifier: Apache-2.0
// The control socket as a socket: its file, its limits, and clients that are slow, idle, rude or many.
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <memory>
#include <stdexcept>
#include <vector>

#include "server_fixture.h"

namespace teal::control {
namespace {

using std::chrono::milliseconds;

class ConnectionTest : public ServerTest {
 protected:
  // What a second server on the same path says when it starts; empty when it does.
  std::string start_error(const model::ControlConfig& other) {
    boost::asio::io_context own(1);
    Server second(own, other, {operations, releases, events, *audit});
    try {
      second.start();
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return {};
  }

  void restart_with(const ServerLimits& l) {
    halt();
    limits = l;
    run();
  }

  [[nodiscard]] struct stat file() const {
    struct stat st {};
    EXPECT_EQ(lstat(config.socket.c_str(), &st), 0);
    return st;
  }
};

TEST_F(ConnectionTest, ModeAndGroupAreAsConfigured) {
  EXPECT_EQ(file().st_mode & 07777, 0660u);
  halt();
  config.mode = 0600;
  config.group = "daemon";
  if (geteuid() != 0) config.group = std::to_string(getgid());
  run();
  EXPECT_EQ(file().st_mode & 07777, 0600u);
  if (geteuid() == 0) {
    EXPECT_EQ(file().st_gid, getgrnam("daemon")->gr_gid);
  }
}

TEST_F(ConnectionTest, TheFileGoesWhenTheServerStops) {
  halt();
  EXPECT_FALSE(std::filesystem::exists(config.socket));
}

TEST_F(ConnectionTest, AnothersFileStaysWhenTheServerStops) {
  std::filesystem::remove(config.socket);
  std::ofstream(config.socket) << "not ours";
  halt();
  EXPECT_TRUE(std::filesystem::exists(config.socket));
}

TEST_F(ConnectionTest, ASocketThatAnswersIsLeftAlone) {
  EXPECT_EQ(start_error(config),
            "control socket " + config.socket + ": another process answers on it; it is left alone");
  EXPECT_EQ(get("/v1/status").status, 200);
}

TEST_F(ConnectionTest, ADeadSocketIsReplaced) {
  halt();
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  config.socket.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  close(fd);
  ASSERT_TRUE(std::filesystem::exists(config.socket));
  run();
  EXPECT_EQ(get("/v1/status").status, 200);
}

TEST_F(ConnectionTest, WhatCannotBeASocketIsSaid) {
  model::ControlConfig other = config;
  other.socket = directory + "/file";
  std::ofstream(other.socket) << "data";
  EXPECT_EQ(start_error(other), "control socket " + other.socket +
                                    ": found a file that is no socket, expected nothing or a socket; it is left alone");
  EXPECT_TRUE(std::filesystem::exists(other.socket));
  other.socket = directory + "/" + std::string(200, 'x');
  EXPECT_NE(start_error(other).find("bytes, expected 1 to 107"), std::string::npos);
  other.socket = directory + "/new";
  other.group = "no such group";
  EXPECT_NE(start_error(other).find("found the group \"no such group\""), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(other.socket));
  other = config;
  other.socket = "/dev/null/x";
  EXPECT_NE(start_error(other).find("cannot make its directory"), std::string::npos);
}

TEST_F(ConnectionTest, KeepAliveAndPipelining) {
  RawClient client(config.socket);
  client.write(http_request("GET", "/v1/status") + http_request("GET", "/v1/services/web"));
  EXPECT_EQ(client.read().json()["pid"], 4242);
  EXPECT_EQ(client.read().json()["name"], "web");
  client.write(http_request("GET", "/v1/counters", "", "Connection: close\r\n"));
  EXPECT_EQ(client.read().status, 200);
  EXPECT_TRUE(client.closed_within(milliseconds(1000)));
}

TEST_F(ConnectionTest, SlowAndIdleClientsBlockNobody) {
  RawClient idle(config.socket), slow(config.socket);
  const std::string request = http_request("POST", "/v1/services/web/cutover", R"({"to":"green"})");
  slow.write(request.substr(0, request.size() - 3));
  EXPECT_EQ(get("/v1/services/web").json()["generation"], 7);
  slow.write(request.substr(request.size() - 3));
  EXPECT_EQ(slow.read().status, 200);
  idle.write(http_request("GET", "/v1/services/web"));
  EXPECT_EQ(idle.read().json()["generation"], 8);
}

TEST_F(ConnectionTest, IdleAndSlowClientsAreClosedInTime) {
  restart_with({.idle = milliseconds(400), .read = milliseconds(100)});
  RawClient idle(config.socket), slow(config.socket);
  slow.write("GET /v1/sta");
  EXPECT_FALSE(idle.closed_within(milliseconds(200)));
  EXPECT_TRUE(slow.closed_within(milliseconds(1000)));
  EXPECT_TRUE(idle.closed_within(milliseconds(1000)));
  EXPECT_NE(get("/metrics").body.find("teal_control_timeouts_total 2\n"), std::string::npos);
}

TEST_F(ConnectionTest, OverTheLimitTheLongestIdleGoes) {
  restart_with({.connections = 3});
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<RawClient>(config.socket));
    clients[i]->write(http_request("GET", "/v1/status"));
    EXPECT_EQ(clients[i]->read().status, 200);
  }
  clients[0]->write(http_request("GET", "/v1/status"));
  EXPECT_EQ(clients[0]->read().status, 200);
  EXPECT_EQ(get("/v1/status").status, 200);
  EXPECT_TRUE(clients[1]->closed_within(milliseconds(1000)));
  EXPECT_FALSE(clients[0]->closed_within(milliseconds(50)));
  EXPECT_FALSE(clients[2]->closed_within(milliseconds(50)));
}

TEST_F(ConnectionTest, TooMuchIsRefusedAndClosed) {
  RawClient large(config.socket);
  large.write("POST /v1/reload HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n" + std::string(1048577, ' '));
  const auto reply = large.read();
  EXPECT_EQ(reply.status, 413);
  EXPECT_EQ(reply.json()["code"], "body_too_large");
  EXPECT_EQ(get("/v1/audit").json()["entries"][0]["outcome"]["code"], "body_too_large");
  RawClient chunked(config.socket);
  chunked.write("POST /v1/reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n" + std::string(1048577, ' ') +
                "\r\n0\r\n\r\n");
  EXPECT_EQ(chunked.read().status, 413);
  RawClient headers(config.socket);
  headers.write("GET /v1/status HTTP/1.1\r\nX: " + std::string(17000, 'x') + "\r\n\r\n");
  EXPECT_EQ(headers.read().json()["code"], "header_too_large");
  EXPECT_EQ(send("POST", "/v1/reload", std::string(1048576, ' ')).status, 200);
}

TEST_F(ConnectionTest, ARefusalDoesNotBreakTheClientsWriting) {
  RawClient client(config.socket);
  client.write("POST /v1/reload HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n");
  EXPECT_EQ(client.read().status, 413);
  EXPECT_TRUE(client.write(std::string(1048577, ' ')));
}

TEST_F(ConnectionTest, WhatIsNoHttpIsRefused) {
  for (const char* text :
       {"\r\n\r\n\r\n", "hello\r\n\r\n", "GET /v1/status HTTP/9.9\r\n\r\n",
        "GET /v1/status HTTP/1.1\r\nno colon\r\n\r\n", "POST /v1/reload HTTP/1.1\r\nContent-Length: x\r\n\r\n"}) {
    SCOPED_TRACE(text);
    RawClient client(config.socket);
    client.write(text);
    const auto reply = client.read();
    EXPECT_EQ(reply.status, 400);
    EXPECT_EQ(reply.json()["code"], "malformed_request");
  }
}

TEST_F(ConnectionTest, ADeepBodyIsRefusedAndLogged) {
  const std::string deep = "{\"to\":" + std::string(100000, '[') + std::string(100000, ']') + "}";
  EXPECT_EQ(send("POST", "/v1/services/web/cutover", deep).json()["code"], "wrong_type");
  const std::string shallow = "{\"to\":" + std::string(2000, '[') + std::string(2000, ']') + "}";
  EXPECT_EQ(send("POST", "/v1/services/web/cutover", shallow).json()["code"], "wrong_type");
  EXPECT_EQ(get("/v1/audit").json()["entries"].size(), 2u);
}

TEST_F(ConnectionTest, ExpectContinueIsAnswered) {
  RawClient client(config.socket);
  client.write("POST /v1/reload HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read().status, 100);
  client.write("{}");
  EXPECT_EQ(client.read().status, 200);
}

TEST_F(ConnectionTest, ClientsThatGoAwayHurtNobody) {
  for (int i = 0; i < 20; ++i) {
    RawClient client(config.socket);
    client.write(i % 2 == 0 ? http_request("GET", "/metrics") : "GET /v1/st");
  }
  EXPECT_EQ(get("/v1/status").status, 200);
}

TEST_F(ConnectionTest, StopWithOpenConnectionsClosesThem) {
  RawClient client(config.socket);
  client.write(http_request("GET", "/v1/status"));
  EXPECT_EQ(client.read().status, 200);
  halt();
  EXPECT_TRUE(client.closed_within(milliseconds(1000)));
}

}  // namespace
}  // namespace teal::control
