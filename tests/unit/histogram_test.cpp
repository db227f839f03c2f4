// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include <cstdint>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "replay/histogram.hpp"

using pm::replay::histogram;
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

} // namespace
