// SPDX-License-Identifier: Apache-2.0
// From a request to its handler, and from what the handler says to a reply; writes the audit lines on the way.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "call.h"

namespace teal::control {

struct Route {
  const char* method;
  const char* path;  // "{...}" stands for any one segment that is not empty
  Handler handler;
};

// Every route of the server, in the order of docs/openapi.yaml.
const std::vector<Route>& routes();

class Router {
 public:
  explicit Router(Context context) : context_(context) {}

  // Answers `call`. Never throws: what a handler throws becomes a problem.
  Reply handle(Call call);

  // The reply to a request that could not be read to its end (method and target may be empty).
  Reply refuse_unread(Call call, Problem problem);

 private:
  Reply finish(const Call& call, Reply reply);
  Context context_;
};

}  // namespace teal::control
