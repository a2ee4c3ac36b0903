// SPDX-License-Identifier: Apache-2.0
#include "telemetry/audit.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

namespace teal::telemetry {
namespace {

AuditEntry entry_of(const std::string& path, const std::string& body = "") {
  return {.caller = {77, 1000, 1001, "ada"},
          .method = "POST",
          .path = path,
          .body = body,
          .status = 200,
          .code = "ok",
          .generation_before = 4,
          .generation_after = 5,
          .counters_before = {},
          .counters_after = {}};
}

class AuditTest : public testing::Test {
 protected:
  AuditTest() {
    char name[] = "/tmp/teal-audit-XXXXXX";
    directory = mkdtemp(name);
    path = directory + "/audit.jsonl";
  }
  ~AuditTest() override { std::filesystem::remove_all(directory); }

  [[nodiscard]] std::string text() const {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& content) const { std::ofstream(path) << content; }
  void append(int count) const {
    Audit audit(path);
    for (int i = 0; i < count; ++i) ASSERT_EQ(audit.append(entry_of("/" + std::to_string(i))), "");
  }

  std::string directory, path;
};

TEST(AuditHash, IsSha1) {
  EXPECT_EQ(audit_hash(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  EXPECT_EQ(audit_hash("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");  // FIPS 180-4's example
}

TEST_F(AuditTest, ALineSaysWhoWhatWhenAndWhatBecameOfIt) {
  Audit audit(path);
  ASSERT_EQ(audit.append(entry_of("/v1/reload", R"({"a":1})")), "");
  const auto line = nlohmann::json::parse(text());
  EXPECT_EQ(line["seq"], 1);
  std::string shape = line["time"].get<std::string>();
  std::replace_if(
      shape.begin(), shape.end(), [](char c) { return c >= '0' && c <= '9'; }, '9');
  EXPECT_EQ(shape, "9999-99-99T99:99:99.999999999Z");
  EXPECT_EQ(line["caller"], nlohmann::json::parse(R"({"pid":77,"uid":1000,"gid":1001,"user":"ada"})"));
  EXPECT_EQ(line["request"], nlohmann::json::parse(R"({"method":"POST","path":"/v1/reload","body":{"a":1}})"));
  EXPECT_EQ(line["outcome"], nlohmann::json::parse(R"({"status":200,"code":"ok"})"));
  EXPECT_EQ(line["generation_before"], 4);
  EXPECT_EQ(line["generation_after"], 5);
  EXPECT_EQ(line["prev"], audit_origin);
  EXPECT_EQ(std::filesystem::status(path).permissions() & std::filesystem::perms::others_all,
            std::filesystem::perms::none);
}

TEST_F(AuditTest, TheChainGoesOnOverRestarts) {
  append(2);
  append(3);
  const auto verdict = verify_audit(path);
  EXPECT_TRUE(verdict.ok());
  EXPECT_EQ(verdict.lines, 5u);
  const auto lines = Audit(path).tail(10);
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_EQ(nlohmann::json::parse(lines[4])["seq"], 5);
  EXPECT_EQ(nlohmann::json::parse(lines[4])["prev"], audit_hash(lines[3]));
  EXPECT_EQ(verdict.head, audit_hash(lines[4]));
}

TEST_F(AuditTest, EachByteThatIsEditedShows) {
  append(3);
  const std::string good = text();
  ASSERT_TRUE(verify_audit(path).ok());
  const size_t last = good.rfind('\n', good.size() - 2) + 1;
  for (size_t i = 0; i < last; ++i) {
    std::string bad = good;
    bad[i] = bad[i] == 'x' ? 'y' : 'x';
    write(bad);
    EXPECT_FALSE(verify_audit(path).ok()) << "byte " << i;
  }
}

TEST_F(AuditTest, CutAddedAndExchangedLinesShow) {
  append(4);
  const auto lines = Audit(path).tail(10);
  const auto verdict = [](std::vector<std::string> some) { return verify_audit_lines(some); };
  EXPECT_TRUE(verdict(lines).ok());
  const auto cut = verdict({lines[0], lines[2], lines[3]});
  ASSERT_EQ(cut.findings.size(), 1u) << "named once, where it is";
  EXPECT_EQ(cut.findings[0].line, 2u);
  EXPECT_FALSE(verdict({lines[1], lines[2], lines[3]}).ok()) << "the beginning is missing";
  EXPECT_FALSE(verdict({lines[0], lines[0], lines[1], lines[2]}).ok());
  EXPECT_FALSE(verdict({lines[0], lines[2], lines[1], lines[3]}).ok());
  EXPECT_FALSE(verdict({lines[0], "", lines[1]}).ok());
  // A cut end shows to whoever knows the head, and to a teald that is still running.
  EXPECT_NE(verdict({lines[0], lines[1], lines[2]}).head, verdict(lines).head);
}

TEST_F(AuditTest, ALineCutUnderARunningTealdShows) {
  Audit audit(path);
  for (int i = 0; i < 3; ++i) audit.append(entry_of("/" + std::to_string(i)));
  const auto lines = audit.tail(10);
  std::filesystem::resize_file(path, lines[0].size() + 1 + lines[1].size() + 1);
  audit.append(entry_of("/after"));
  EXPECT_FALSE(verify_audit(path).ok());
}

TEST_F(AuditTest, ALastLineThatWasEditedOrCutShowsByTheHead) {
  Audit audit(path);
  EXPECT_FALSE(audit.head());
  for (int i = 0; i < 3; ++i) ASSERT_EQ(audit.append(entry_of("/" + std::to_string(i))), "");
  const std::string whole = text();
  const auto verify = [&] { return verify_audit(path, audit_origin, UINT64_MAX, audit.head()); };
  ASSERT_TRUE(audit.head());
  EXPECT_TRUE(verify().ok());
  std::string edited = whole;
  edited.replace(edited.rfind("\"ada\""), 5, "\"eve\"");  // quotes: a digest may well have "ada" in it
  write(edited);
  ASSERT_EQ(verify().findings.size(), 1u);
  EXPECT_EQ(verify().findings[0].line, 3u);
  write(whole.substr(0, whole.rfind('\n', whole.size() - 2) + 1));
  ASSERT_EQ(verify().findings.size(), 1u);
  EXPECT_EQ(verify().findings[0].line, 2u);
  write("");
  EXPECT_FALSE(verify().ok());
  write(whole);
  EXPECT_TRUE(verify().ok());
  const Audit next(path);  // of the next teald, which takes the end as it finds it
  EXPECT_EQ(next.head(), audit.head());
  std::filesystem::rename(path, path + ".1");
  write("");
  EXPECT_FALSE(audit.head()) << "another file, as logrotate makes it";
}

TEST_F(AuditTest, AFileRotatedAwayIsMadeAnewAndTheChainSpansBoth) {
  Audit audit(path);
  audit.append(entry_of("/old"));
  const std::string older = path + ".1";
  std::filesystem::rename(path, older);
  ASSERT_EQ(audit.append(entry_of("/new")), "");
  EXPECT_FALSE(verify_audit(path).ok());
  EXPECT_TRUE(verify_audit(path, verify_audit(older).head).ok());
}

TEST_F(AuditTest, ATornLastLineIsKeptAndNamed) {
  append(2);
  std::filesystem::resize_file(path, text().size() - 10);
  append(1);
  const auto verdict = verify_audit(path);
  EXPECT_EQ(verdict.lines, 3u);
  ASSERT_EQ(verdict.findings.size(), 1u);
  EXPECT_EQ(verdict.findings[0].line, 2u);
}

TEST_F(AuditTest, TailGivesTheNewestAndReadsOnlyWhatItMust) {
  append(3);
  Audit audit(path);
  EXPECT_EQ(audit.tail(0).size(), 0u);
  ASSERT_EQ(audit.tail(2).size(), 2u);
  EXPECT_EQ(nlohmann::json::parse(audit.tail(2)[1])["seq"], 3);
  for (int i = 0; i < 600; ++i) audit.append(entry_of("/x", std::string(300, '"')));  // beyond one window
  const auto lines = audit.tail(1000);
  ASSERT_EQ(lines.size(), 603u);
  EXPECT_TRUE(verify_audit_lines(lines).ok());
  for (size_t limit = 1; limit < 300; ++limit) {  // a window that begins inside a line gives no part of it
    const auto some = audit.tail(limit);
    ASSERT_EQ(some.size(), limit);
    ASSERT_EQ(some.front(), lines[603 - limit]);
  }
}

TEST_F(AuditTest, BodiesAreBoundedAndNeverBreakTheLine) {
  Audit audit(path);
  EXPECT_EQ(audit.append(entry_of("/a", std::string(9000, 'b'))), "");
  EXPECT_EQ(audit.append(entry_of("/\xff\n", "{\"to\":\"\xfe\n")), "");
  EXPECT_EQ(audit.append(entry_of("/deep", std::string(4096, '['))), "");
  const auto lines = audit.tail(10);
  ASSERT_EQ(lines.size(), 3u);
  const auto large = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(large["request"]["body"].get<std::string>().size(), 4096u);
  EXPECT_EQ(large["request"]["body_bytes"], 9000);
  EXPECT_TRUE(verify_audit(path).ok());
}

TEST_F(AuditTest, WhatCannotBeWrittenIsSaidAndCounted) {
  Audit full("/dev/full");
  EXPECT_EQ(full.append(entry_of("/a")), "cannot write to /dev/full: No space left on device");
  EXPECT_EQ(full.errors(), 1u);
  EXPECT_EQ(full.lines(), 0u);
  EXPECT_TRUE(full.tail(5).empty());
  Audit nowhere("/dev/null/audit.jsonl");
  EXPECT_EQ(nowhere.append(entry_of("/a")), "cannot open /dev/null/audit.jsonl: Not a directory");
  Audit directory_itself(directory);
  EXPECT_EQ(directory_itself.append(entry_of("/a")), "cannot open " + directory + ": Is a directory");
}

TEST_F(AuditTest, WritingGoesOnOnceTheReasonIsGone) {
  const std::string later = directory + "/sub/dir";
  std::ofstream(directory + "/sub") << "in the way";
  Audit audit(later + "/audit.jsonl");
  EXPECT_NE(audit.append(entry_of("/a")), "");
  std::filesystem::remove(directory + "/sub");
  EXPECT_EQ(audit.append(entry_of("/b")), "");
  EXPECT_TRUE(verify_audit(audit.path()).ok());
}

TEST_F(AuditTest, AFullDiskLeavesNoTornLine) {
  if (geteuid() != 0) GTEST_SKIP() << "mounting a tmpfs needs root";
  if (mount("tmpfs", directory.c_str(), "tmpfs", 0, "size=8k") != 0) GTEST_SKIP() << "cannot mount a tmpfs here";
  {
    Audit audit(path);
    std::string error;
    int written = 0;
    for (; written < 100 && error.empty(); ++written) error = audit.append(entry_of("/a", std::string(600, 'x')));
    EXPECT_EQ(error, "cannot write to " + path + ": No space left on device");
    EXPECT_EQ(verify_audit(path).lines, audit.lines());
    EXPECT_TRUE(verify_audit(path).ok());
    ASSERT_EQ(mount("tmpfs", directory.c_str(), "tmpfs", MS_REMOUNT, "size=64k"), 0);
    EXPECT_EQ(audit.append(entry_of("/later")), "");
    EXPECT_TRUE(verify_audit(path).ok());
  }
  EXPECT_EQ(umount(directory.c_str()), 0);
}

}  // namespace
}  // namespace teal::telemetry
