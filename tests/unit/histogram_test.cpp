// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "replay/histogram.hpp"

using pm::replay::histogram;
using pm::replay::interval_of_median;
using pm::replay::summarize;

namespace {

TEST(histogram, is_exact_below_64)
{
	histogram h;
	for (std::uint64_t v = 1; v <= 60; ++v)
		h.record(v);
	EXPECT_EQ(h.n(), 60u);
	EXPECT_EQ(h.percentile(0.5), 30u);
	EXPECT_EQ(h.percentile(0.9), 54u);
	EXPECT_EQ(h.percentile(1), 60u);
	EXPECT_EQ(h.max(), 60u);
}

TEST(histogram, without_values_says_nothing)
{
	EXPECT_EQ(histogram{}.percentile(0.5), 0u);
	EXPECT_EQ(histogram{}.max(), 0u);
}

TEST(histogram, knows_the_percentiles_of_a_uniform_distribution)
{
	histogram h;
	for (std::uint64_t v = 1; v <= 1'000'000; ++v)
		h.record(v);
	for (const double share : {0.1, 0.5, 0.9, 0.99, 0.999})
		EXPECT_NEAR(static_cast<double>(h.percentile(share)), share * 1e6, share * 1e6 / 60);
}

RC_GTEST_PROP(histogram, a_single_value_is_known_to_one_part_in_sixty, (std::uint64_t v))
{
	v &= (std::uint64_t{1} << 40) - 1;
	histogram h;
	h.record(v);
	h.record((std::uint64_t{1} << 40) - 1); // so that the maximum does not cut the bucket off
	RC_ASSERT(h.percentile(0.5) >= v);
	RC_ASSERT(h.percentile(0.5) - v <= v / 60);
}

TEST(histogram, counts_what_is_beyond_its_range)
{
	histogram h;
	h.record(UINT64_MAX);
	EXPECT_EQ(h.n(), 1u);
	EXPECT_EQ(h.max(), UINT64_MAX);
	std::uint64_t n = 0;
	h.each([&](std::uint64_t, std::uint64_t count) { n += count; });
	EXPECT_EQ(n, 1u);
}

TEST(summary, is_the_median_between_the_extremes)
{
	EXPECT_EQ(summarize({3, 1, 2}).median, 2);
	EXPECT_EQ(summarize({4, 1, 2, 3}).median, 2.5);
	EXPECT_EQ(summarize({4, 1, 2, 3}).least, 1);
	EXPECT_EQ(summarize({4, 1, 2, 3}).most, 4);
	EXPECT_EQ(summarize({}).n, 0u);
}

// Ranks from the tables of the sign test.
TEST(summary, tells_where_the_median_surely_is)
{
	const std::tuple<std::size_t, double, double> table[] = {
		{6, 1, 6}, {8, 1, 8}, {9, 2, 8}, {10, 2, 9}, {20, 6, 15}, {40, 14, 27}, {100, 40, 61}, {10'000, 4902, 5099}};
	for (const auto &[n, low, high] : table) {
		std::vector<double> values(n);
		std::iota(values.rbegin(), values.rend(), 1.0);
		const auto found = interval_of_median(values);
		ASSERT_TRUE(found) << n;
		EXPECT_EQ(found->low, low) << n;
		EXPECT_EQ(found->high, high) << n;
	}
	EXPECT_FALSE(interval_of_median({1, 2, 3, 4, 5})) << "even the extremes leave it out once in 16 times";
	EXPECT_FALSE(interval_of_median({}));
}

TEST(summary, is_rarely_wrong_about_where_the_median_is)
{
	constexpr unsigned trials = 4000;
	std::mt19937 random{1};
	std::exponential_distribution<double> skewed;
	unsigned right = 0;
	for (unsigned trial = 0; trial < trials; ++trial) {
		std::vector<double> values(15);
		for (double &value : values)
			value = skewed(random);
		const auto found = interval_of_median(values);
		right += found->low <= std::log(2) && std::log(2) <= found->high;
	}
	EXPECT_GE(right, trials * 95 / 100);
	EXPECT_LE(right, trials * 98 / 100) << "no wider than need be: 96.5 % for 15";
}

} // namespace
