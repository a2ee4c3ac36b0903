// SPDX-License-Identifier: Apache-2.0
#include "yaml_reader.h"

#include <algorithm>
#include <charconv>

#include "model/quantity.h"

namespace teal::model {

namespace {

bool alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool printable(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

std::optional<uint64_t> digits(std::string_view text, int base) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

// Edits (insert, remove, replace, swap neighbours) that make one word of the other: optimal string alignment. Case, and
// '-' for '_', count nothing; leaving off the end of a word counts nothing.
size_t distance(std::string_view typed, std::string_view word) {
  if (typed.size() >= 3 && word.starts_with(typed)) return 0;
  const auto plain = [](char c) { return c == '-' ? '_' : c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  const auto same = [&](size_t i, size_t j) { return plain(typed[i - 1]) == plain(word[j - 1]); };
  std::vector<std::vector<size_t>> d(typed.size() + 1, std::vector<size_t>(word.size() + 1));
  for (size_t i = 0; i <= typed.size(); ++i)
    for (size_t j = 0; j <= word.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + !same(i, j)});
      if (i > 1 && j > 1 && same(i, j - 1) && same(i - 1, j)) d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[typed.size()][word.size()];
}

}  // namespace

void Reader::fail(const YAML::Node& node, std::string_view expected) {
  const std::string found = node.IsScalar()     ? quoted(node.Scalar())
                            : node.IsSequence() ? "a list"
                            : node.IsMap()      ? "a map"
                                                : "nothing";
  report_.add_unread(path_, "found " + found + ", expected " + std::string(expected));
}

void Reader::enter(std::string_view step, const YAML::Node& node, Place otherwise, const std::function<void()>& read) {
  const size_t length = path_.size();
  path_ += step;
  // yaml-cpp places an empty value at whatever comes next in the file.
  report_.note(path_, node.IsNull() ? otherwise : place_of(node));
  read();
  path_.resize(length);
}

void Reader::unknown_key(const std::string& key, Place place, const std::vector<std::string_view>& known) {
  std::string_view nearest;
  size_t least = std::max<size_t>(1, key.size() / 3) + 1;
  std::string all;
  for (const std::string_view k : known) {
    all.append(all.empty() ? "" : ", ").append(k);
    // A huge key is near to nothing, and not worth the comparison.
    const size_t d = key.size() < 64 ? distance(key, k) : least;
    if (d < least) {
      least = d;
      nearest = k;
    }
  }
  report_.add(place, prefix_of_path() + "unknown key " + quoted(key) +
                         (nearest.empty() ? ", expected one of " + all : "; did you mean " + quoted(nearest) + "?"));
}

void Reader::list(const YAML::Node& node, std::string_view expected,
                  const std::function<void(const YAML::Node&)>& read) {
  if (!node.IsSequence()) return fail(node, expected);
  const Place place = report_.place(path_);
  size_t index = 0;
  for (const YAML::Node& element : node) enter(item("", index++), element, place, [&] { read(element); });
}

void Reader::bounded_list(const YAML::Node& node, size_t least, size_t most, const std::string& what,
                          const std::function<void(const YAML::Node&)>& read) {
  const std::string expected = (least == 0 ? "a list of up to " : "a list of " + std::to_string(least) + " to ") +
                               std::to_string(most) + " " + what;
  if (node.IsSequence() && (node.size() < least || node.size() > most))
    return refuse("found " + std::to_string(node.size()) + " of them, expected " + expected);
  list(node, expected, read);
}

std::optional<uint64_t> Reader::plain_number(const YAML::Node& node) const {
  return node.IsScalar() ? digits(node.Scalar(), 10) : std::nullopt;
}

void Reader::quantity(const YAML::Node& node, uint64_t& out, uint64_t min, uint64_t max) {
  static constexpr std::pair<std::string_view, uint64_t> suffixes[] = {
      {"Ki", 1ull << 10}, {"Mi", 1ull << 20}, {"Gi", 1ull << 30}, {"k", 1000}, {"M", 1000000}};
  std::string_view text = node.IsScalar() ? std::string_view(node.Scalar()) : std::string_view();
  uint64_t unit = 1;
  for (const auto& [suffix, factor] : suffixes)
    if (unit == 1 && text.ends_with(suffix)) {
      text.remove_suffix(suffix.size());
      unit = factor;
    }
  const auto value = digits(text, 10);
  if (!value || *value > max / unit || *value * unit < min)
    return fail(node, "a number from " + std::to_string(min) + " to " + std::to_string(max) +
                          ", with or without a suffix k, M, Ki, Mi or Gi");
  out = *value * unit;
}

std::optional<uint64_t> Reader::duration(const YAML::Node& node, uint64_t unit_ms, uint64_t min, uint64_t max) {
  const auto ms = node.IsScalar() ? parse_duration_ms(node.Scalar()) : std::nullopt;
  if (ms && *ms % unit_ms == 0 && *ms / unit_ms >= min && *ms / unit_ms <= max) return *ms / unit_ms;
  fail(node, "a duration from " + duration_text(min * unit_ms) + " to " + duration_text(max * unit_ms) +
                 (unit_ms == 1 ? ", a number and ms, s, m, h or d" : ", a number and s, m, h or d"));
  return std::nullopt;
}

void Reader::real(const YAML::Node& node, double& out, double min, double max, std::string_view expected) {
  const std::string_view text = node.IsScalar() ? std::string_view(node.Scalar()) : std::string_view();
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  // Written so that "nan", which from_chars takes, is out of every range.
  if (text.empty() || error != std::errc{} || stop != end || !(value >= min && value <= max))
    return fail(node, expected);
  out = value;
}

void Reader::url(const YAML::Node& node, std::string& out) {
  constexpr size_t longest = 2047;
  const std::string_view text = node.IsScalar() ? std::string_view(node.Scalar()) : std::string_view();
  const size_t host = text.starts_with("http://") ? 7 : text.starts_with("https://") ? 8 : 0;
  if (host == 0 || text.size() <= host || text[host] == '/' || text.size() > longest || !printable(text) ||
      text.find(' ') != std::string_view::npos)
    return fail(node, "a URL, http://HOST... or https://HOST..., without blanks");
  out = text;
}

void Reader::octal(const YAML::Node& node, unsigned& out, unsigned max) {
  const auto value = node.IsScalar() ? digits(node.Scalar(), 8) : std::nullopt;
  if (!value || *value > max) return fail(node, "permission bits in octal, \"0\" to \"0777\"");
  out = static_cast<unsigned>(*value);
}

void Reader::boolean(const YAML::Node& node, bool& out) {
  const std::string value = node.IsScalar() ? node.Scalar() : "";
  if (value != "true" && value != "false") return fail(node, "true or false");
  out = value == "true";
}

void Reader::text(const YAML::Node& node, std::string& out, size_t longest) {
  if (!node.IsScalar() || node.Scalar().empty() || node.Scalar().size() > longest || !printable(node.Scalar()))
    return fail(node, "text of 1 to " + std::to_string(longest) + " printable characters");
  out = node.Scalar();
}

void Reader::file(const YAML::Node& node, std::string& out, size_t longest) {
  if (!node.IsScalar() || !node.Scalar().starts_with('/') || node.Scalar().size() > longest ||
      !printable(node.Scalar()))
    return fail(node, "a file's absolute path of at most " + std::to_string(longest) + " characters");
  out = node.Scalar();
}

void Reader::name(const YAML::Node& node, std::string& out, size_t longest) {
  const std::string value = node.IsScalar() ? node.Scalar() : "";
  const bool good = !value.empty() && value.size() <= longest && alphanumeric(value[0]) &&
                    std::all_of(value.begin(), value.end(),
                                [](char c) { return alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
  if (!good)
    return fail(node, "a name of 1 to " + std::to_string(longest) +
                          " characters out of A-Z, a-z, 0-9, '.', '_' and '-', beginning with a letter or digit");
  out = value;
}

void Reader::address(const YAML::Node& node, Address& out, uint8_t family) {
  const auto value = node.IsScalar() ? Address::parse(node.Scalar()) : std::nullopt;
  if (!value || (family && value->family != family))
    return fail(node, family == 4 ? "an IPv4 address" : family == 6 ? "an IPv6 address" : "an IPv4 or IPv6 address");
  const std::string_view why = unfit(*value);
  if (!why.empty()) return fail(node, "an address of a host, and this one is " + std::string(why));
  out = *value;
}

void Reader::prefix(const YAML::Node& node, Prefix& out, uint8_t family, uint8_t longest) {
  const auto value = node.IsScalar() ? Prefix::parse(node.Scalar()) : std::nullopt;
  const bool right_family = value && (!family || value->address.family == family);
  if (!right_family || (family && value->length > longest)) {
    const std::string limit = family ? " of length " + std::to_string(longest) + " or shorter" : "";
    return fail(node, family == 4   ? "an IPv4 prefix" + limit + ", as in 100.127.0.0/16"
                      : family == 6 ? "an IPv6 prefix" + limit + ", as in fd7e:a100::/96"
                                    : "an address and prefix length, as in 192.0.2.2/24 or 2001:db8::2/64");
  }
  const std::string_view why = unfit(value->address);
  if (!why.empty()) return fail(node, "an address of a host, and this one is " + std::string(why));
  out = *value;
}

}  // namespace teal::model
