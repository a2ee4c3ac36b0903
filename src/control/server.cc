// SPDX-License-Identifier: Apache-2.0
// The only file of the server that includes Beast.
#include "control/server.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <optional>
#include <set>
#include <stdexcept>

#include "router.h"
#include "unix_socket.h"

namespace teal::control {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using Protocol = asio::local::stream_protocol;
using Clock = std::chrono::steady_clock;
using Error = boost::system::error_code;

constexpr uint32_t header_limit = 16 * 1024;
constexpr uint64_t body_limit = 1024 * 1024;
constexpr size_t drain_limit = 8 * 1024 * 1024;
constexpr size_t events_at_a_time = 64 * 1024;

// What all connections share. Outlives the Server while a completion is under way.
struct Shared {
  ServerLimits limits;
  ServerStats stats;
  const Events& events;
  Router router;
  bool stopped = false;
  std::set<class Session*> sessions;
  asio::thread_pool background{1};  // for replies that take long

  Shared(Server::Services s, ServerLimits l)
      : limits(l), events(s.events), router(Context{s.operations, s.releases, s.events, s.audit, stats}) {}
};

// One connection: wait for a request, read it, answer it, and again.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Protocol::socket socket, std::shared_ptr<Shared> shared)
      : shared_(std::move(shared)), caller_(peer_of(socket.native_handle())), stream_(std::move(socket)) {
    shared_->sessions.insert(this);
    ++shared_->stats.accepted;
    ++shared_->stats.connections;
  }
  ~Session() {
    shared_->sessions.erase(this);
    --shared_->stats.connections;
    if (listening_) --shared_->stats.listeners;
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void run() { wait(); }
  void close() { stream_.close(); }  // what is under way ends with an error, and lets go of the session
  [[nodiscard]] bool idle() const { return idle_; }
  [[nodiscard]] Clock::time_point since() const { return since_; }

 private:
  void enter(bool idle, std::chrono::milliseconds limit) {
    idle_ = idle;
    since_ = Clock::now();
    stream_.expires_after(limit);
  }

  void wait() {
    parser_.emplace();
    parser_->header_limit(header_limit);
    parser_->body_limit(body_limit);
    if (buffer_.size() > 0) return read_header();
    enter(true, shared_->limits.idle);
    stream_.async_read_some(buffer_.prepare(4096), [self = shared_from_this()](Error error, size_t n) {
      if (error) return self->failed(error);
      self->buffer_.commit(n);
      self->read_header();
    });
  }

  void read_header() {
    enter(false, shared_->limits.read);
    http::async_read_header(stream_, buffer_, *parser_, [self = shared_from_this()](Error error, size_t) {
      if (error) return self->failed(error);
      if (beast::iequals(self->parser_->get()[http::field::expect], "100-continue")) return self->send_continue();
      self->read_body();
    });
  }

  void send_continue() {
    static constexpr std::string_view text = "HTTP/1.1 100 Continue\r\n\r\n";
    asio::async_write(stream_, asio::buffer(text), [self = shared_from_this()](Error error, size_t) {
      if (error) return self->failed(error);
      self->read_body();
    });
  }

  void read_body() {
    http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](Error error, size_t) {
      if (error) return self->failed(error);
      if (self->shared_->stopped) return;
      Reply reply = self->shared_->router.handle(self->call(true));
      if (reply.events_after) return self->begin_events(reply);
      if (reply.work) return self->answer_later(std::move(reply.work));
      self->answer(reply, self->parser_->get().keep_alive());
    });
  }

  // The session goes back to its own thread with the reply, and is let go of there.
  void answer_later(std::function<Reply()> work) {
    enter(false, shared_->limits.write);
    asio::post(shared_->background, [self = shared_from_this(), work = std::move(work)]() mutable {
      Reply reply = work();
      const auto executor = self->stream_.get_executor();
      asio::post(executor, [self = std::move(self), reply = std::move(reply)] {
        if (!self->shared_->stopped) self->answer(reply, self->parser_->get().keep_alive());
      });
    });
  }

  // From here on nothing is read but the end of the connection, and what is written ends with it.
  void begin_events(const Reply& reply) {
    last_event_ = *reply.events_after;
    listening_ = true;
    ++shared_->stats.listeners;
    text_ = "HTTP/1.1 200 OK\r\nServer: teald\r\nContent-Type: " + reply.content_type +
            "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\nretry: 1000\n\n" +
            shared_->events.stream(last_event_, events_at_a_time);
    stream_.expires_never();
    watch_end();
    heard_ = shared_->events.listen([weak = weak_from_this()] {
      if (const auto self = weak.lock(); self && !self->writing_) self->send_events();
    });
    write_events();
  }

  void watch_end() {
    buffer_.clear();
    stream_.async_read_some(buffer_.prepare(4096), [self = shared_from_this()](Error error, size_t) {
      if (!error) return self->watch_end();
      self->heard_.reset();
      self->stream_.close();
    });
  }

  void send_events() {
    // Whom the ring has overtaken is cut off rather than shown a picture with holes; he may come again.
    if (!shared_->events.follows(last_event_)) {
      ++shared_->stats.timeouts;
      heard_.reset();
      return stream_.close();
    }
    text_ = shared_->events.stream(last_event_, events_at_a_time);
    if (!text_.empty()) write_events();
  }

  void write_events() {
    writing_ = true;
    enter(false, shared_->limits.event);
    asio::async_write(stream_, asio::buffer(text_), [self = shared_from_this()](Error error, size_t) {
      self->writing_ = false;
      if (error == beast::error::timeout) ++self->shared_->stats.timeouts;
      if (error || self->shared_->stopped) return self->heard_.reset();
      self->send_events();
    });
  }

  Call call(bool with_body) {
    auto& request = parser_->get();
    Call call;
    call.method = std::string(request.method_string());
    call.target = std::string(request.target());
    if (with_body) call.body = std::move(request.body());
    call.caller = caller_;
    call.last_event_id = std::string(request["Last-Event-ID"]);
    return call;
  }

  // A request that could not be read: told why, if it was the request's fault, and then closed.
  void failed(Error error) {
    if (shared_->stopped) return;
    if (error == beast::error::timeout) {
      ++shared_->stats.timeouts;
      return;
    }
    const bool of_http = error.category() == http::make_error_code(http::error::bad_method).category();
    if (!of_http || error == http::error::end_of_stream || error == http::error::partial_message) return;
    Problem problem;
    if (error == http::error::body_limit) {
      problem =
          make_problem(ProblemCode::body_too_large, "found a body of more than 1048576 bytes, expected at most that");
    } else if (error == http::error::header_limit) {
      problem =
          make_problem(ProblemCode::header_too_large, "found a header of more than 16384 bytes, expected at most that");
    } else {
      problem =
          make_problem(ProblemCode::malformed_request, "found " + error.message() + ", expected an HTTP/1.1 request");
    }
    answer(shared_->router.refuse_unread(call(false), std::move(problem)), false);
  }

  void answer(const Reply& reply, bool keep_alive) {
    response_.emplace(static_cast<http::status>(reply.status), parser_->get().version() == 10 ? 10 : 11);
    response_->set(http::field::server, "teald");
    response_->set(http::field::content_type, reply.content_type);
    response_->set(http::field::cache_control, "no-store");
    for (const auto& [name, value] : reply.headers) response_->set(name, value);
    response_->keep_alive(keep_alive);
    // The answer to HEAD has no body, and says nothing of the length of one.
    if (parser_->get().method() != http::verb::head) {
      response_->body() = reply.body;
      response_->prepare_payload();
    }
    enter(false, shared_->limits.write);
    http::async_write(stream_, *response_, [self = shared_from_this(), keep_alive](Error error, size_t) {
      if (error == beast::error::timeout) ++self->shared_->stats.timeouts;
      if (error || self->shared_->stopped) return;
      if (keep_alive) return self->wait();
      Error ignored;
      self->stream_.socket().shutdown(Protocol::socket::shutdown_send, ignored);
      self->enter(true, std::chrono::seconds(2));
      self->drain(0);
    });
  }

  // Reads on to the end: closing with bytes unread would reset the connection under a reply that is not yet taken.
  void drain(size_t drained) {
    buffer_.clear();
    stream_.async_read_some(buffer_.prepare(65536), [self = shared_from_this(), drained](Error error, size_t n) {
      if (!error && drained + n < drain_limit) self->drain(drained + n);
    });
  }

  std::shared_ptr<Shared> shared_;
  Caller caller_;
  beast::basic_stream<Protocol> stream_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> response_;
  bool idle_ = true;
  Clock::time_point since_ = Clock::now();
  // Of one who listens to events:
  bool listening_ = false, writing_ = false;
  uint64_t last_event_ = 0;
  std::string text_;  // being written
  Events::Handle heard_;
};

}  // namespace

struct Server::Core : std::enable_shared_from_this<Server::Core> {
  model::ControlConfig config;
  std::shared_ptr<Shared> shared;
  Protocol::acceptor acceptor;
  asio::steady_timer pause;
  ListeningSocket file;

  Core(asio::io_context& context, const model::ControlConfig& c, Services services, ServerLimits limits)
      : config(c), shared(std::make_shared<Shared>(services, limits)), acceptor(context), pause(context) {}

  void accept() {
    acceptor.async_accept([self = shared_from_this()](Error error, Protocol::socket socket) {
      if (self->shared->stopped || error == asio::error::operation_aborted) return;
      if (error) {
        // Most likely out of descriptors: wait for some to come back rather than spin.
        spdlog::error("control: cannot accept: {}", error.message());
        self->pause.expires_after(std::chrono::milliseconds(100));
        self->pause.async_wait([self](Error stopped) {
          if (!stopped && !self->shared->stopped) self->accept();
        });
        return;
      }
      fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
      self->make_room();
      std::make_shared<Session>(std::move(socket), self->shared)->run();
      self->accept();
    });
  }

  // At the limit the connection goes that has been idle longest, or, if none is, that which has taken longest.
  void make_room() {
    auto& sessions = shared->sessions;
    if (sessions.size() < shared->limits.connections) return;
    Session* oldest = nullptr;
    for (Session* session : sessions) {
      const auto rank = [](const Session* s) { return std::make_pair(!s->idle(), s->since()); };
      if (oldest == nullptr || rank(session) < rank(oldest)) oldest = session;
    }
    oldest->close();
  }
};

Server::Server(asio::io_context& context, const model::ControlConfig& config, Services services, ServerLimits limits)
    : core_(std::make_shared<Core>(context, config, services, limits)) {}

Server::~Server() {
  stop();
}

void Server::start() {
  const int fd = core_->file.open(core_->config);
  core_->acceptor.assign(Protocol(), fd);
  core_->shared->stopped = false;
  core_->accept();
}

void Server::stop() {
  core_->shared->stopped = true;
  // The file goes first, so that nobody connects to a socket that is about to close.
  core_->file.remove_file();
  Error ignored;
  core_->pause.cancel(ignored);
  core_->acceptor.close(ignored);
  for (Session* session : core_->shared->sessions) session->close();
  // What it has under way would go back to a context that may be gone by then.
  core_->shared->background.stop();
  core_->shared->background.join();
}

}  // namespace teal::control
