// SPDX-License-Identifier: Apache-2.0
// The words of the configuration's choices, as they stand in the file, in replies and in the log.
#include "model/config.h"

namespace teal::model {

const char* to_string(Pool v) {
  return v == Pool::blue ? "blue" : "green";
}
const char* to_string(Protocol v) {
  return v == Protocol::tcp ? "tcp" : "udp";
}
const char* to_string(SplitBy v) {
  return v == SplitBy::client ? "client" : "flow";
}
const char* to_string(Memory v) {
  return v == Memory::hugepages ? "hugepages" : "ordinary";
}
const char* to_string(Idle v) {
  return v == Idle::poll ? "poll" : "adaptive";
}
const char* to_string(Engine v) {
  return v == Engine::dpdk ? "dpdk" : "xdp";
}

const char* to_string(XdpMode v) {
  return v == XdpMode::native ? "native" : "generic";
}

const char* to_string(Forward v) {
  switch (v) {
    case Forward::nat:
      return "nat";
    case Forward::l2dsr:
      return "l2dsr";
    case Forward::ipip:
      return "ipip";
  }
  return "unknown";
}

const char* to_string(FlowsAction v) {
  return v == FlowsAction::keep ? "keep" : "reset";
}

const char* to_string(HookPoint v) {
  switch (v) {
    case HookPoint::pre_start:
      return "pre_start";
    case HookPoint::pre_step:
      return "pre_step";
    case HookPoint::post_step:
      return "post_step";
    case HookPoint::pre_promote:
      return "pre_promote";
    case HookPoint::post_promote:
      return "post_promote";
    case HookPoint::on_rollback:
      return "on_rollback";
    case HookPoint::on_done:
      return "on_done";
  }
  return "unknown";
}

const char* to_string(CheckKind v) {
  switch (v) {
    case CheckKind::none:
      return "none";
    case CheckKind::tcp:
      return "tcp";
    case CheckKind::http:
      return "http";
    case CheckKind::https:
      return "https";
  }
  return "unknown";
}

}  // namespace teal::model
