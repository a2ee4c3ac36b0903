// SPDX-License-Identifier: Apache-2.0
#include "control/events.h"

#include <charconv>

#include "handlers/handlers.h"
#include "input.h"

namespace teal::control {

// From now on, or from behind the event that the client saw last.
Reply get_events(Context& context, Call& call) {
  const Query query(call.query, {});
  uint64_t after = context.events.newest();
  const std::string& last = call.last_event_id;
  if (!last.empty()) {
    const auto [end, error] = std::from_chars(last.data(), last.data() + last.size(), after);
    if (error != std::errc{} || end != last.data() + last.size())
      refuse(ProblemCode::wrong_parameter,
             "header \"Last-Event-ID\": found \"" + last.substr(0, 60) + "\", expected the id of an event");
  }
  return {.content_type = "text/event-stream", .body = {}, .events_after = after};
}

}  // namespace teal::control
