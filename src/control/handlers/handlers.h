// SPDX-License-Identifier: Apache-2.0
// One handler a route, one file a resource. Each reads its input, asks Operations, and shapes the answer.
#pragma once

#include "call.h"

namespace teal::control {

Reply get_status(Context& context, Call& call);     // status.cc
Reply list_services(Context& context, Call& call);  // services.cc
Reply get_service(Context& context, Call& call);
Reply post_cutover(Context& context, Call& call);  // switch.cc
Reply post_rollback(Context& context, Call& call);
Reply patch_backend(Context& context, Call& call);  // backends.cc
Reply list_flows(Context& context, Call& call);     // flows.cc
Reply get_which(Context& context, Call& call);      // which.cc
Reply get_counters(Context& context, Call& call);   // counters.cc
Reply get_audit(Context& context, Call& call);      // audit.cc
Reply get_audit_verify(Context& context, Call& call);
Reply get_preview(Context& context, Call& call);  // preview.cc
Reply put_preview(Context& context, Call& call);
Reply get_drain(Context& context, Call& call);      // drain.cc
Reply post_rollouts(Context& context, Call& call);  // rollouts.cc
Reply list_rollouts(Context& context, Call& call);
Reply get_rollout(Context& context, Call& call);
Reply post_pause(Context& context, Call& call);
Reply post_resume(Context& context, Call& call);
Reply post_promote(Context& context, Call& call);
Reply post_abort(Context& context, Call& call);
Reply get_events(Context& context, Call& call);   // events.cc
Reply post_reload(Context& context, Call& call);  // reload.cc
Reply get_metrics(Context& context, Call& call);  // metrics.cc

// Generation and counters of the group of `name` (a service or a group), for the audit line: once before a change, and
// again when it has been made. What follows stays as it was when the call is refused. noted.cc
void note_before(Context& context, Call& call, const std::string& name);
void note_after(Context& context, Call& call, const std::string& name);

}  // namespace teal::control
