// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The statistics on distributions that are known.
#include "report/statistics.hpp"

#include <cmath>
#include <random>

#include <gtest/gtest.h>

namespace pm::report {

namespace {

class report_statistics : public testing::Test {
protected:
	std::mt19937_64 chance_{42};

	double normal() { return normal_(chance_); }
	std::vector<double> samples(std::size_t n, double median, double relative, bool heavy = false)
	{
		std::vector<double> all;
		for (std::size_t i = 0; i < n; ++i)
			all.push_back(median * std::exp(relative * normal() * (heavy && i % 3 == 0 ? 4 : 1)));
		return all;
	}
	// How many of `figures` are judged beyond noise, if each is `by` times what it was.
	std::size_t beyond(std::size_t figures, std::size_t runs, double relative, double by, bool heavy = false)
	{
		std::vector<std::vector<double>> before, after, all;
		for (std::size_t i = 0; i < figures; ++i) {
			before.push_back(samples(runs, 100, relative, heavy));
			after.push_back(samples(runs, 100 * by, relative, heavy));
			all.push_back(before.back());
			all.push_back(after.back());
		}
		std::size_t found = 0;
		for (std::size_t i = 0; i < figures; ++i)
			found += difference_of(before[i], after[i],
					       {.typical = typical_scatter(all), .comparisons = figures})
					 .beyond_noise;
		return found;
	}

private:
	std::normal_distribution<double> normal_;
};

TEST_F(report_statistics, scatter_of_a_normal_distribution_is_its_standard_deviation)
{
	for (const std::size_t n : {2u, 3u, 5u, 10u, 11u, 50u}) {
		double sum = 0;
		constexpr int often = 4000;
		for (int i = 0; i < often; ++i) {
			std::vector<double> values;
			for (std::size_t j = 0; j < n; ++j)
				values.push_back(10 + 2 * normal());
			sum += scatter_of(values);
		}
		EXPECT_NEAR(sum / often, 2, n > 10 && n < 20 ? 0.25 : 0.1) << n << " values";
	}
	EXPECT_EQ(scatter_of({}), 0);
	EXPECT_EQ(scatter_of({5}), 0);
}

TEST_F(report_statistics, typical_scatter_is_not_moved_by_a_few_wild_points)
{
	std::vector<std::vector<double>> all;
	for (int i = 0; i < 100; ++i)
		all.push_back(samples(3, 50, i < 10 ? 2.0 : 0.05));
	EXPECT_NEAR(typical_scatter(all), 0.05, 0.012);
	EXPECT_EQ(typical_scatter({{0, 0, 0}, {1}}), 0) << "neither has a scatter relative to its median";
}

TEST_F(report_statistics, quantiles_of_the_normal_distribution)
{
	EXPECT_NEAR(normal_quantile_above(0.5), 0, 1e-9);
	EXPECT_NEAR(normal_quantile_above(0.025), 1.959964, 1e-5);
	EXPECT_NEAR(normal_quantile_above(0.00005), 3.890592, 1e-5);
}

TEST_F(report_statistics, chances_of_ranks_are_those_of_the_tables)
{
	EXPECT_DOUBLE_EQ(rank_chance_below(1, 3, 3), 1.0 / 20);
	EXPECT_DOUBLE_EQ(rank_chance_below(2, 3, 3), 2.0 / 20);
	EXPECT_DOUBLE_EQ(rank_chance_below(1, 5, 5), 1.0 / 252);
	// Mann and Whitney's table: 5 and 5 runs, U = 2 two-sided at 5 %.
	EXPECT_LE(2 * rank_chance_below(3, 5, 5), 0.05);
	EXPECT_GT(2 * rank_chance_below(4, 5, 5), 0.05);
}

TEST_F(report_statistics, an_interval_holds_the_shift_as_often_as_it_says)
{
	for (const std::size_t n : {3u, 5u, 8u}) {
		int held = 0;
		double promised = 0;
		constexpr int often = 3000;
		for (int i = 0; i < often; ++i) {
			std::vector<double> before, after;
			for (std::size_t j = 0; j < n; ++j) {
				before.push_back(normal());
				after.push_back(normal() + 1.5);
			}
			const change found = difference_of(before, after, {});
			held += found.low <= 1.5 && 1.5 <= found.high;
			promised = found.confidence;
		}
		EXPECT_NEAR(static_cast<double>(held) / often, promised, 0.02) << n << " runs";
		EXPECT_GE(promised, n == 3 ? 0.899 : 0.95);
	}
}

TEST_F(report_statistics, what_has_not_changed_is_found_worse_in_one_of_twenty_comparisons_at_most)
{
	for (const bool heavy : {false, true})
		for (const std::size_t runs : {3u, 5u}) {
			int comparisons_that_err = 0;
			for (int i = 0; i < 100; ++i)
				comparisons_that_err += beyond(200, runs, 0.08, 1, heavy) > 0;
			EXPECT_LE(comparisons_that_err, heavy ? 12 : 8)
				<< runs << " runs" << (heavy ? ", heavy tails" : "");
		}
}

TEST_F(report_statistics, what_is_a_third_slower_is_found)
{
	EXPECT_GE(beyond(200, 5, 0.05, 1.33), 165u);
	EXPECT_GE(beyond(200, 3, 0.05, 1.5), 165u);
	EXPECT_EQ(beyond(200, 5, 0.001, 1.03), 0u) << "less than 5 % is not worth a word";
}

TEST_F(report_statistics, with_less_than_three_runs_nothing_is_judged)
{
	const change found = difference_of({1, 1.01}, {5, 5.01, 5.02}, {});
	EXPECT_FALSE(found.judged);
	EXPECT_FALSE(found.beyond_noise);
	EXPECT_NEAR(found.shift, 4.005, 0.011);
}

TEST_F(report_statistics, a_loss_where_there_was_none_is_beyond_noise)
{
	EXPECT_TRUE(
		difference_of({0, 0, 0}, {0.02, 0.021, 0.019}, {.resolution = 0.001, .comparisons = 100}).beyond_noise);
	EXPECT_FALSE(difference_of({0, 0, 0}, {0.0005, 0.0005, 0.0005}, {.resolution = 0.001, .comparisons = 100})
			     .beyond_noise);
	EXPECT_FALSE(difference_of({0, 0, 0}, {0, 0, 0.3}, {.resolution = 0.001, .comparisons = 100}).beyond_noise);
}

// Waiting in vain took for ever.
TEST_F(report_statistics, what_never_ends_is_more_than_all_that_does)
{
	const double never = HUGE_VAL;
	const noise among_many{.typical = 0.05, .resolution = 1, .comparisons = 100};
	const change worse = difference_of({900, 950, 970}, {never, never, never}, among_many);
	EXPECT_TRUE(worse.beyond_noise);
	EXPECT_EQ(worse.shift, never);
	EXPECT_EQ(difference_of({never, never, never}, {900, 950, 970}, among_many).shift, -never);
	EXPECT_TRUE(difference_of({never, never, never}, {900, 950, 970}, among_many).beyond_noise);
	EXPECT_FALSE(difference_of({never, never, never}, {never, never, never}, among_many).beyond_noise);
	EXPECT_EQ(difference_of({never, 900, never}, {never, never, 900}, among_many).shift, 0);
	EXPECT_FALSE(difference_of({900, 950, 970}, {900, never, 970}, among_many).beyond_noise);
	EXPECT_EQ(scatter_of({900, never, 900}), 0);
	EXPECT_EQ(typical_scatter({{never, never, never}, {100, 100}}), 0);
}

} // namespace

} // namespace pm::report
