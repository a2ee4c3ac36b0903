// SPDX-License-Identifier: Apache-2.0
#include "cases/generator.h"

#include <algorithm>

namespace teal::tests {
namespace {

using nlohmann::json;

constexpr uint64_t table_flows = 1024;  // the least that there is
const char* const edge_mac = "02:00:00:00:00:01";
const char* const back_mac = "02:00:00:00:00:02";
const char* const router_mac = "02:00:00:00:01:01";

std::string last_two_digits(unsigned n) {
  return std::string(n < 10 ? "0" : "") + std::to_string(n);
}
std::string backend_mac(unsigned n) {
  return "02:00:00:00:02:" + last_two_digits(n);
}
model::Address backend_address(uint8_t family, unsigned n) {
  return *model::Address::parse((family == 4 ? "10.0.0." : "2001:db8:b::") + std::to_string(n));
}
constexpr unsigned backend_numbers[] = {11, 12, 13, 21, 22, 23};

}  // namespace

uint64_t Random::draw() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

std::string Generator::Backend::name() const {
  return model::Endpoint{address, port}.str();
}

Generator::Generator(uint64_t seed, Layout layout) : random_(seed), layout_(layout) {
  vlan_link_ = layout_ == Layout::two_ports && random_.one_in(3);
  crowded_ = random_.one_in(5);
  calm_ = !random_.one_in(3);
  static const std::vector<uint32_t> established{20, 60, 60, 61, 120, 600, 3600};  // services settle from 60 s on
  established_s_ = random_.of(established);
  const std::vector<uint16_t> mtus{1500, 1500, 1400, 1300, 9000};
  client_mtu_ = random_.of(mtus);
  back_mtu_ = random_.of(mtus);
  make_services();
  make_clients();
  if (crowded_) to_fill_ = 3200;
  if (random_.one_in(3)) unknown_.push_back(random_.of(backends_).address);
}

void Generator::make_services() {
  const unsigned count = 1 + random_.below(4);
  const bool same_backends = !calm_ && random_.one_in(2);  // several services on one backend address and port
  const uint8_t only = random_.one_in(3) ? 0 : random_.one_in(2) ? 4 : 6;
  for (unsigned i = 0; i < count; i++) {
    Service s;
    s.name = "s" + std::to_string(i);
    const uint8_t family = only ? only : random_.one_in(2) ? 4 : 6;
    s.vip = *model::Address::parse((family == 4 ? "192.0.2." : "2001:db8:1::") + std::to_string(10 + random_.below(2)));
    s.proto = random_.one_in(calm_ ? 8 : 3) ? 17 : 6;
    s.port = static_cast<uint16_t>(80 + i);
    s.forward = random_.of(std::vector<std::string>{"nat", "nat", "nat", "nat", "l2dsr", "ipip"});
    if (crowded_ && i == 0) s.forward = "l2dsr";  // where packets of clients alone make a flow that never gives way
    s.by_flow = random_.one_in(3);
    s.group = !s.by_flow && random_.one_in(3) ? "together" : s.name;
    if (s.proto == 6 && random_.one_in(3)) s.mss_clamp = 1200 + random_.below(2) * 161;
    const uint8_t inner = s.forward == "ipip" && random_.one_in(2) ? static_cast<uint8_t>(10 - family) : family;
    make_affinity(s);
    make_preview(s);
    if (random_.one_in(calm_ ? 10 : 3)) s.preview_port = static_cast<uint16_t>(8180 + i);
    const uint16_t port = s.forward != "nat" ? s.port : same_backends ? 8080 : static_cast<uint16_t>(8080 + i);
    for (int pool = 0; pool < 2; pool++) {
      const unsigned members = random_.one_in(8) ? (crowded_ ? 1 : 0) : 1 + random_.below(3);
      for (unsigned k = 0; k < members; k++)
        s.pools[pool].push_back({backend_address(inner, backend_numbers[pool * 3 + k]), port});
    }
    for (const auto& pool : s.pools) backends_.insert(backends_.end(), pool.begin(), pool.end());
    services_.push_back(std::move(s));
  }
  if (backends_.empty()) {
    services_[0].pools[0].push_back({backend_address(services_[0].vip.family, 11),
                                     services_[0].forward == "nat" ? uint16_t{8080} : services_[0].port});
    backends_ = services_[0].pools[0];
  }
}

void Generator::make_clients() {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    auto& list = clients_[family == 4 ? 0 : 1];
    const unsigned count = crowded_ ? 60 : 4;
    for (unsigned i = 0; i < count; i++)
      list.push_back(*model::Address::parse((family == 4 ? "203.0.113." : "2001:db8:c::") + std::to_string(i + 1)));
    list.push_back(*model::Address::parse(family == 4 ? "198.51.100.50" : "2001:db8:e::50"));  // on link, known
    list.push_back(backend_address(family, 11));  // hairpin, where 11 is a NAT backend
    list.push_back(backend_address(family, 21));
    if (random_.one_in(3))  // on link, not known to the kernel
      list.push_back(*model::Address::parse(family == 4 ? "198.51.100.51" : "2001:db8:e::51"));
    if (random_.one_in(3))  // behind a blackhole
      list.push_back(*model::Address::parse(family == 4 ? "203.0.113.200" : "2001:db8:c:bad::1"));
  }
}

json Generator::topology() const {
  const int back = layout_ == Layout::one_port ? 10 : 11;
  json t = {{"links", json::array({{{"ifindex", 10}, {"mtu", client_mtu_}}})},
            {"addresses", json::array()},
            {"routes", json::array()},
            {"neighbours", json::array()}};
  if (vlan_link_) {
    t["links"].push_back({{"ifindex", 12}, {"mtu", back_mtu_}});
    t["links"].push_back({{"ifindex", 11}, {"mtu", back_mtu_}, {"parent", 12}, {"vlan", 9}});
  } else if (back != 10) {
    t["links"].push_back({{"ifindex", back}, {"mtu", back_mtu_}});
  }
  const auto route = [&](const char* to, int ifindex, const char* via) {
    json r = {{"to", to}, {"ifindex", ifindex}};
    if (via) r["via"] = via;
    t["routes"].push_back(r);
  };
  route("203.0.113.200/32", 0, nullptr);
  route("2001:db8:c:bad::/64", 0, nullptr);
  route("198.51.100.0/24", 10, nullptr);
  route("2001:db8:e::/64", 10, nullptr);
  route("10.0.0.0/24", back, nullptr);
  route("2001:db8:b::/64", back, nullptr);
  route("0.0.0.0/0", 10, "198.51.100.1");
  route("::/0", 10, "2001:db8:e::1");
  for (const char* p : {"198.51.100.2/24", "2001:db8:e::2/64"})
    t["addresses"].push_back({{"ifindex", 10}, {"prefix", p}});
  for (const char* p : {"10.0.0.1/24", "2001:db8:b::1/64"})
    t["addresses"].push_back({{"ifindex", back}, {"prefix", p}});
  const auto neighbour = [&](int ifindex, const std::string& address, const std::string& mac) {
    if (std::find(unknown_.begin(), unknown_.end(), *model::Address::parse(address)) == unknown_.end())
      t["neighbours"].push_back({{"ifindex", ifindex}, {"address", address}, {"mac", mac}});
  };
  for (const char* a : {"198.51.100.1", "2001:db8:e::1"}) neighbour(10, a, router_mac);
  for (const char* a : {"198.51.100.50", "2001:db8:e::50"}) neighbour(10, a, "02:00:00:00:01:50");
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}})
    for (const unsigned n : backend_numbers) neighbour(back, backend_address(family, n).str(), backend_mac(n));
  return t;
}

json Generator::world() const {
  json ports = json::array({{{"mac", edge_mac}, {"ifindex", 10}, {"mtu", client_mtu_}}});
  if (layout_ != Layout::one_port)
    ports.push_back({{"mac", back_mac}, {"ifindex", vlan_link_ ? 12 : 11}, {"mtu", back_mtu_}});
  if (layout_ == Layout::one_tag) ports[0]["vlan"] = {7};
  if (layout_ == Layout::two_tags) {
    ports[0]["vlan"] = {100, 7};
    ports[1]["vlan"] = {9};
  }
  json config = {
      {"engine",
       {{"timeouts", {{"half_open_s", 2}, {"established_s", established_s_}, {"closing_s", 2}, {"udp_s", 5}}}}},
      {"ports", json::array()},
      {"services", json::array()}};
  for (size_t i = 0; i < ports.size(); i++)
    config["ports"].push_back({{"name", "p" + std::to_string(i)},
                               {"device", "net_ring" + std::to_string(i)},
                               {"vlan", ports[i].value("vlan", json::array())}});
  for (const Service& s : services_) {
    if (!s.configured) continue;
    json c = {{"name", s.name},
              {"vip", s.vip.str()},
              {"port", s.port},
              {"protocol", s.proto == 6 ? "tcp" : "udp"},
              {"forward", s.forward},
              {"group", s.group},
              {"split_by", s.by_flow ? "flow" : "client"},
              {"pools", {{"blue", json::array()}, {"green", json::array()}}}};
    if (s.mss_clamp) c["mss_clamp"] = s.mss_clamp;
    add_release(s, c);
    for (int pool = 0; pool < 2; pool++)
      for (const Backend& b : s.pools[pool]) c["pools"][pool ? "green" : "blue"].push_back(b.name());
    config["services"].push_back(c);
  }
  return {{"config", config.dump()}, {"ports", ports}, {"topology", topology()}};
}

json Generator::head() const {
  json h = world();
  h["flows"] = table_flows;
  return h;
}

// Another list of backends or services, other neighbours, another MTU.
json Generator::reload() {
  Service& s = services_[random_.below(static_cast<uint32_t>(services_.size()))];
  auto& pool = s.pools[random_.below(2)];
  switch (random_.below(7)) {
    case 0:  // a service goes, or comes back
      s.configured = !s.configured;
      if (std::none_of(services_.begin(), services_.end(), [](const Service& x) { return x.configured; }))
        s.configured = true;
      break;
    case 1:
      if (!pool.empty()) pool.erase(pool.begin() + random_.below(static_cast<uint32_t>(pool.size())));
      break;
    case 2: {  // a backend of the service's, new or known, that it does not have now
      const Backend& any = random_.of(backends_);
      const Backend b{any.address, any.port};
      const bool here = std::any_of(std::begin(s.pools), std::end(s.pools), [&](const auto& p) {
        return std::any_of(p.begin(), p.end(), [&](const Backend& x) { return x.name() == b.name(); });
      });
      const bool fits =
          (s.forward == "nat" || b.port == s.port) && (s.forward == "ipip" || b.address.family == s.vip.family);
      if (!here && fits) pool.push_back(b);
      break;
    }
    case 3:
      if (!unknown_.empty()) {
        unknown_.clear();
      } else if (random_.one_in(2)) {
        unknown_.push_back(random_.of(backends_).address);
      } else {  // a client on link, or the router itself
        static const std::vector<const char*> hosts{"198.51.100.50", "2001:db8:e::50", "198.51.100.1", "2001:db8:e::1"};
        unknown_.push_back(*model::Address::parse(random_.of(hosts)));
      }
      break;
    case 4:
      make_preview(s);
      break;
    case 5:
      make_affinity(s);
      break;
    default: {
      uint16_t& mtu = random_.one_in(2) ? back_mtu_ : client_mtu_;
      mtu = mtu == 1500 ? 1400 : 1500;
    }
  }
  return {{"note", "reload"}, {"publish", world()}};
}

json Generator::control() {
  const Service& s = random_.of(services_);
  const uint32_t kind = random_.below(1000);
  if (kind < 450) return advance();
  if (kind < 620) return {{"sweep", true}};
  if (kind < 720) return {{"cutover", s.name}, {"to", random_.one_in(2) ? "green" : "blue"}};
  if (kind < 780) return {{"rollback", s.name}, {"flows", random_.one_in(2) ? "reset" : "keep"}};
  if (kind < 810) return {{"share", s.name}, {"of", random_.below(65537)}};
  if (kind < 900) return split(s);
  if (kind < 930) return {{"drained", s.name}};
  if (kind < 970) {
    json step = {{"backend", random_.of(backends_).name()}, {"service", s.name}};
    if (random_.one_in(2))
      step["weight"] = random_.below(3);
    else
      step["state"] = random_.of(std::vector<std::string>{"ready", "ready", "drain", "down"});
    return step;
  }
  return reload();
}

Step Generator::next() {
  if (to_fill_ > 0) {
    to_fill_--;
    return fill();
  }
  if (random_.one_in(calm_ && !pending_.empty() ? 100 : 16)) {
    Step step;
    step.control = control();
    return step;
  }
  return traffic();
}

}  // namespace teal::tests
