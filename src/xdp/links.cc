// SPDX-License-Identifier: Apache-2.0
#include "links.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include <algorithm>

namespace teal::xdp {
namespace {

struct Link {
  std::string pin;
  Fd fd;
  int ifindex = 0;  // 0: its interface is gone
  uint32_t program_id = 0;
  bool used = false;
};

std::vector<Link> pinned_links(const Pins& pins) {
  std::vector<Link> links;
  for (const auto& name : pins.names()) {
    if (!Pins::is_link(name)) continue;
    Link link{name, pins.open(name)};
    bpf_link_info info{};
    uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(link.fd.get(), &info, &size) != 0 || info.type != BPF_LINK_TYPE_XDP)
      fail("xdp: " + pins.directory() + "/" + name + " is no XDP link; teald --detach removes it");
    link.ifindex = static_cast<int>(info.xdp.ifindex);
    link.program_id = info.prog_id;
    links.push_back(std::move(link));
  }
  return links;
}

std::string refused(const PortSpec& port, int error) {
  const std::string where = "port " + port.name + ": " + port.device + ": ";
  switch (error) {
    case EBUSY:
    case EEXIST:  // in the other mode
      return where + "another XDP program is attached, expected none (see: bpftool net; ip link set dev " +
             port.device + " xdp off)";
    case EOPNOTSUPP:
      return where + (port.generic ? "takes no XDP program"
                                   : "driver has no native XDP for it (jumbo frames included); set mode: generic");
    case ENODEV:
      return where + "no such interface";
    case EPERM:
      return where + "not permitted, expected CAP_NET_ADMIN";
    default:
      return where + "cannot attach the XDP program: " + std::strerror(error) +
             (port.generic ? ""
                           : "; the driver may want fewer queues, a smaller MTU or no LRO, else set mode: generic");
  }
}

Fd make_link(const PortSpec& port, int program_fd) {
  LIBBPF_OPTS(bpf_link_create_opts, options);
  options.flags = port.generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
  const int fd = bpf_link_create(program_fd, port.ifindex, BPF_XDP, &options);
  if (fd < 0) fail(refused(port, -fd));
  return Fd(fd);
}

// Takes back what an attach that fails half way has done. Links made new go by their descriptors.
class Undo {
 public:
  ~Undo() {
    for (const auto& [link, program] : updated_) bpf_link_update(link, program.get(), nullptr);
  }
  void remember(int link, Fd program) { updated_.emplace_back(link, std::move(program)); }
  void forget() { updated_.clear(); }

 private:
  std::vector<std::pair<int, Fd>> updated_;
};

}  // namespace

Attachment attached(int ifindex) {
  LIBBPF_OPTS(bpf_xdp_query_opts, query);
  if (bpf_xdp_query(ifindex, 0, &query) != 0) return {};
  const bool generic = query.attach_mode == XDP_ATTACHED_SKB;
  return {generic ? query.skb_prog_id : query.drv_prog_id, generic};
}

uint32_t program_id(int program_fd) {
  bpf_prog_info info{};
  uint32_t size = sizeof(info);
  if (bpf_obj_get_info_by_fd(program_fd, &info, &size) != 0)
    fail(std::string("xdp: the kernel does not know the program: ") + std::strerror(errno));
  return info.id;
}

void attach_ports(const Pins& pins, const std::vector<PortSpec>& ports, int program_fd) {
  const uint32_t ours = program_id(program_fd);
  const Fd former = pins.open("program");  // what the pinned links carry
  const uint32_t former_id = former ? program_id(former.get()) : 0;
  std::vector<Link> links = pinned_links(pins);
  std::vector<Fd> now(ports.size());  // by port
  Undo undo;

  for (size_t i = 0; i < ports.size(); i++) {
    const PortSpec& port = ports[i];
    const Attachment there = attached(port.ifindex);
    // Interfaces of two network namespaces can have one index: the program that is here must be the link's.
    const auto link = std::find_if(links.begin(), links.end(), [&](const Link& l) {
      return l.ifindex == port.ifindex && !l.used && there.program_id != 0 && l.program_id == there.program_id;
    });
    if (link == links.end()) {
      now[i] = make_link(port, program_fd);
      continue;
    }
    link->used = true;
    if (there.generic != port.generic) {  // a link keeps the mode that it was made with
      bpf_link_detach(link->fd.get());
      now[i] = make_link(port, program_fd);
      continue;
    }
    if (const int e = bpf_link_update(link->fd.get(), program_fd, nullptr); e != 0) fail(refused(port, -e));
    if (former_id == link->program_id) undo.remember(link->fd.get(), Fd(dup(former.get())));
    now[i] = std::move(link->fd);
  }
  for (size_t i = 0; i < ports.size(); i++)
    if (attached(ports[i].ifindex).program_id != ours)
      fail("port " + ports[i].name + ": " + ports[i].device + ": the kernel took the XDP program and does not run it");
  undo.forget();

  for (size_t i = 0; i < ports.size(); i++) pins.put(Pins::link_name(ports[i].name), now[i].get());
  for (const auto& link : links) {
    const bool taken =
        std::any_of(ports.begin(), ports.end(), [&](const PortSpec& p) { return Pins::link_name(p.name) == link.pin; });
    if (!link.used && link.fd) bpf_link_detach(link.fd.get());
    if (!taken) pins.remove(link.pin);
  }
}

}  // namespace teal::xdp
