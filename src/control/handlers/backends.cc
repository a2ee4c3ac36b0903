// SPDX-License-Identifier: Apache-2.0
#include "handlers/handlers.h"
#include "input.h"

namespace teal::control {

Reply patch_backend(Context& context, Call& call) {
  const Query query(call.query, {});
  const Body body(call.body, {"weight", "state"});
  BackendPatch patch;
  patch.service = call.captures.at(0);
  patch.backend = call.captures.at(1);
  if (const auto weight = body.integer("weight", 65535)) patch.weight = static_cast<uint32_t>(*weight);
  patch.state = body.word("state", {"ready", "drain", "down"});
  if (!patch.weight && !patch.state)
    refuse(ProblemCode::missing_key, "body: found neither \"weight\" nor \"state\", expected at least one of them");
  note_before(context, call, patch.service);
  const BackendReply reply = value_or_refuse(context.operations.patch_backend(patch));
  note_after(context, call, patch.service);
  return json_reply(to_json(reply));
}

}  // namespace teal::control
