// SPDX-License-Identifier: Apache-2.0
#include "model/quantity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace {

using namespace teal::model;

TEST(Duration, IsANumberAndAUnit) {
  EXPECT_EQ(parse_duration_ms("0"), 0u);
  EXPECT_EQ(parse_duration_ms("0s"), 0u);
  EXPECT_EQ(parse_duration_ms("250ms"), 250u);
  EXPECT_EQ(parse_duration_ms("60s"), 60'000u);
  EXPECT_EQ(parse_duration_ms("10m"), 600'000u);
  EXPECT_EQ(parse_duration_ms("2h"), 7'200'000u);
  EXPECT_EQ(parse_duration_ms("7d"), 604'800'000u);
  for (const char* text : {"", "s", "60", "-1s", "+1s", "1.5s", "1m30s", "60 s", " 60s", "60s ", "60S", "0x10s",
                           "60sec", "99999999999999999999s", "9223372036854775807s", "18446744073709551615d"})
    EXPECT_EQ(parse_duration_ms(text), std::nullopt) << text;
}

TEST(Duration, TextIsReadBackAsTheSame) {
  for (const uint64_t ms : {0ull, 1ull, 999ull, 1000ull, 1500ull, 60'000ull, 90'000ull, 3'600'000ull, 604'800'000ull})
    EXPECT_EQ(parse_duration_ms(duration_text(ms)), ms) << duration_text(ms);
  EXPECT_EQ(duration_text(600'000), "10m");
  EXPECT_EQ(duration_text(90'000), "90s");
  EXPECT_EQ(duration_text(1'500), "1500ms");
}

TEST(Share, IsPercentOrAFraction) {
  EXPECT_EQ(parse_share("100%"), 65536u);
  EXPECT_EQ(parse_share("1.0"), 65536u);
  EXPECT_EQ(parse_share("1/1"), 65536u);
  EXPECT_EQ(parse_share("50 %"), 32768u);
  EXPECT_EQ(parse_share("0.5"), 32768u);
  EXPECT_EQ(parse_share("1/8"), 8192u);
  EXPECT_EQ(parse_share("1%"), 655u);     // 655.36
  EXPECT_EQ(parse_share("1/3"), 21845u);  // 21,845.33
  EXPECT_EQ(parse_share("2/3"), 43691u);  // 43,690.67
  EXPECT_EQ(parse_share("0.0008%"), 1u);  // 0.52
  EXPECT_EQ(parse_share("99.999999999%"), 65536u);
  for (const char* text : {"",
                           "%",
                           "1",
                           "0",
                           "100",
                           "0%",
                           "0.0",
                           "0/1",
                           "1/0",
                           "2/1",
                           "1.1",
                           "100.1%",
                           "101%",
                           "0.0007%",
                           "-1%",
                           "1e1%",
                           "1.%",
                           ".5",
                           "1.5/2",
                           "1 / 2",
                           "1%%",
                           " 1%",
                           "1.0000000001%",
                           "nan%",
                           "99999999999999999999%",
                           "1/99999999999999999999"})
    EXPECT_EQ(parse_share(text), std::nullopt) << text;
}

// Against the definition, in floating point, away from the points where rounding turns.
TEST(Share, IsTheNearest65536th) {
  for (int i = 1; i <= 100'000; ++i) {
    const std::string text = std::to_string(i / 1000) + "." + std::to_string(1000 + i % 1000).substr(1) + "%";
    const double exact = i * 65536.0 / 100'000;
    if (std::abs(exact - std::floor(exact) - 0.5) < 1e-6) continue;
    EXPECT_EQ(parse_share(text).value_or(0), static_cast<uint32_t>(std::lround(exact))) << text;
  }
}

TEST(Share, TextIsReadBackAsTheSame) {
  for (uint32_t share = 1; share <= 65536; ++share)
    ASSERT_EQ(parse_share(share_text(share)), share) << share_text(share);
  EXPECT_EQ(share_text(65536), "100%");
  EXPECT_EQ(share_text(655), "1%");
  EXPECT_EQ(share_text(8192), "12.5%");
}

}  // namespace
