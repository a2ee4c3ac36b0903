// SPDX-License-Identifier: Apache-2.0
#include "load_cutover.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace teal::perf {

uint64_t epoch_ns() {
  timespec t{};
  clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

Switcher::Switcher(const std::string& socket, std::string service)
    : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)), service_(std::move(service)) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (socket.size() >= sizeof(to.sun_path)) throw std::runtime_error(socket + ": too long for a socket's path");
  std::memcpy(to.sun_path, socket.data(), socket.size());
  if (fd_ < 0 || connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) != 0)
    throw std::runtime_error(socket + ": " + std::strerror(errno) + ", expected teald's control socket");
}

Switcher::~Switcher() {
  close(fd_);
}

void Switcher::ask() {
  green_ = !green_;
  const std::string body = std::string(R"({"to":")") + (green_ ? "green" : "blue") + "\"}";
  const std::string request = "POST /v1/services/" + service_ +
                              "/cutover HTTP/1.1\r\nHost: teald\r\nContent-Type: application/json\r\nContent-Length: " +
                              std::to_string(body.size()) + "\r\n\r\n" + body;
  text_.clear();
  waiting_ = true;
  cutover_ = {epoch_ns(), 0, {}};
  if (::send(fd_, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
    throw std::runtime_error(std::string("teald's control socket: ") + std::strerror(errno));
}

std::optional<Cutover> Switcher::answer() {
  char part[4096];
  const ssize_t got = recv(fd_, part, sizeof(part), MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return std::nullopt;
  if (got <= 0) throw std::runtime_error("teald closed its control socket in the middle of a cutover");
  text_.append(part, static_cast<size_t>(got));
  const size_t body = text_.find("\r\n\r\n");
  if (body == std::string::npos) return std::nullopt;
  const size_t field = text_.find("Content-Length: ");
  if (field > body) throw std::runtime_error("teald answers without Content-Length: " + text_.substr(0, 200));
  if (text_.size() < body + 4 + std::stoul(text_.substr(field + 16))) return std::nullopt;
  if (text_.rfind("HTTP/1.1 200 ", 0) != 0)
    throw std::runtime_error("teald refused a cutover: " + text_.substr(0, 400));
  waiting_ = false;
  cutover_.answered_epoch_ns = epoch_ns();
  cutover_.reply = text_.substr(body + 4);
  return cutover_;
}

}  // namespace teal::perf
