// SPDX-License-Identifier: Apache-2.0
#include "handlers/handlers.h"
#include "input.h"

namespace teal::control {
namespace {

// Runs a change of the split with the generations and counters around it noted for the audit line.
template <class Change>
Reply change_split(Context& context, Call& call, const std::string& service, Change change) {
  note_before(context, call, service);
  const SwitchReply reply = value_or_refuse(change());
  note_after(context, call, service);
  return json_reply(to_json(reply));
}

}  // namespace

Reply post_cutover(Context& context, Call& call) {
  const Query query(call.query, {});
  const Body body(call.body, {"to", "expect_generation", "force"});
  SwitchRequest request;
  request.service = call.captures.at(0);
  request.to = body.required_word("to", {"blue", "green"}) == "blue" ? model::Pool::blue : model::Pool::green;
  request.expect_generation = body.integer("expect_generation", UINT64_MAX);
  request.force = body.boolean("force").value_or(false);
  return change_split(context, call, request.service, [&] { return context.operations.cutover(request); });
}

Reply post_rollback(Context& context, Call& call) {
  const Query query(call.query, {});
  const Body body(call.body, {"flows", "expect_generation", "force"});
  RollbackRequest request;
  request.service = call.captures.at(0);
  request.reset_flows = body.word("flows", {"keep", "reset"}) == "reset";
  request.expect_generation = body.integer("expect_generation", UINT64_MAX);
  request.force = body.boolean("force").value_or(false);
  return change_split(context, call, request.service, [&] { return context.operations.rollback(request); });
}

}  // namespace teal::control
