// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The model on loads whose loss can be worked out by hand, and on results that a queue of the same kind made.
#include <functional>

#include <gtest/gtest.h>

#include "report/model.hpp"
#include "tests/support/made_results.hpp"

namespace pm::report {

namespace {

// 1,000 connections of 4 events at 10,000/s: 4,000 events within 100 ms, read at 10,000/s.
constexpr service slow{.events_per_s = 10'000, .pause_s = 0, .events_per_connection = 4, .fixed_events = 0};
constexpr burst large{.connections = 1000, .per_s = 10'000, .all = 1000};

TEST(advise_model, loses_what_is_neither_read_nor_kept)
{
	EXPECT_DOUBLE_EQ(longest_queue(slow, large), 3000) << "in 100 ms 1,000 are read";
	EXPECT_DOUBLE_EQ(lost_share(slow, large, 1000), 0.5);
	EXPECT_DOUBLE_EQ(lost_share(slow, large, 3000), 0);
	EXPECT_DOUBLE_EQ(lost_share(slow, large, 0), 0.75);
	EXPECT_DOUBLE_EQ(lost_share(slow, {.connections = 1000, .per_s = 10'000, .all = 2000}, 1000), 0.25);
}

TEST(advise_model, whoever_reads_faster_than_they_come_needs_room_for_the_pause_only)
{
	service fast = slow;
	fast.events_per_s = 1e6;
	EXPECT_EQ(longest_queue(fast, large), 0);
	fast.pause_s = 0.01;
	EXPECT_DOUBLE_EQ(longest_queue(fast, large), 400);
	fast.pause_s = 10;
	EXPECT_DOUBLE_EQ(longest_queue(fast, large), 4000) << "no more than there are";
}

TEST(advise_model, the_buffer_that_it_asks_for_is_just_enough)
{
	for (const double share : {0.0, 0.01, 0.2}) {
		const double room = buffer_for(slow, large, share) / bytes_in_socket;
		EXPECT_NEAR(lost_share(slow, large, room), share, 1e-9);
		EXPECT_GT(lost_share(slow, large, room - 10), share);
	}
}

TEST(advise_model, a_ring_takes_less_for_an_event_than_a_socket)
{
	service ring = slow;
	ring.bytes_per_event = bytes_in_ring;
	EXPECT_DOUBLE_EQ(buffer_for(ring, large, 0), 3000 * bytes_in_ring);
	EXPECT_LT(bytes_in_ring, bytes_in_socket);
}

// Runs as a queue with a known pause would have made them; the fit sees the overrun only.
json made_by(const service &truth)
{
	json data = test::made_results({.replay = false, .stress = false});
	const auto add = [&](const char *scenario, double rate, double burst_rate, double of_all,
			     std::uint64_t buffer) {
		const burst of{2000 * of_all, burst_rate, 2000};
		const auto lost = static_cast<std::uint64_t>(
			lost_share(truth, of, static_cast<double>(buffer) / bytes_in_socket) * 8000);
		for (unsigned repetition = 1; repetition <= 3; ++repetition) {
			json run = test::made_run(scenario, "netlink", "host", rate, repetition, lost);
			run["load"]["buffer_bytes"] = buffer;
			run["rate"]["made_per_s"] = burst_rate;
			run["cpu_ns_per_connection"]["path_manager"] = 4e9 / truth.events_per_s;
			data["stress"].push_back(run);
		}
	};
	add("overrun", 1e6, 12'000, 1, 16'384);
	add("steady", 2000, 2000, 1, 8 << 20);
	add("buffer", 2000, 2000, 1, 4096);
	add("flash-crowd", 2000, 20'000, 0.5, 65'536);
	add("step", 1000, 4000, 4.0 / 7, 8192);
	return data;
}

TEST(advise_model, finds_the_pause_and_predicts_loads_that_it_was_not_fitted_on)
{
	const service truth{.events_per_s = 200'000, .pause_s = 0.02, .events_per_connection = 4, .fixed_events = 0};
	const auto all = check_results("made", made_by(truth));
	ASSERT_TRUE(all);
	const auto points = points_of(*all);
	const auto model = fit_model(points, "host", "netlink");
	ASSERT_TRUE(model);
	EXPECT_NEAR(model->by.pause_s, truth.pause_s, 0.02 * truth.pause_s + 1e-3);
	EXPECT_NEAR(model->by.events_per_s, truth.events_per_s, 1);
	EXPECT_EQ(model->checks.size(), 4u);
	EXPECT_LT(model->largest_error(), 0.01);
}

// Whoever lost nothing may have been away for as long as its buffer lasts.
TEST(advise_model, does_not_know_the_pause_of_what_lost_nothing)
{
	const service truth{.events_per_s = 200'000, .pause_s = 0.02, .events_per_connection = 4, .fixed_events = 0};
	const auto fitted = [](json data, const std::function<bool(const json &)> &keep) {
		json runs = json::array();
		for (const json &run : data["stress"])
			if (keep(run))
				runs.push_back(run);
		data["stress"] = runs;
		const auto all = check_results("made", data);
		EXPECT_TRUE(all);
		const auto model = fit_model(points_of(*all), "host", "netlink");
		EXPECT_TRUE(model);
		return model->fitted_to_loss;
	};
	EXPECT_TRUE(fitted(made_by(truth), [](const json &) { return true; }));
	// Without an overrun it is fitted to the load that lost most, wherever that stands.
	EXPECT_TRUE(fitted(made_by(truth), [](const json &run) { return run["scenario"] != "overrun"; }));
	EXPECT_FALSE(fitted(made_by(truth), [](const json &run) { return run["scenario"] == "steady"; }));
}

// That nothing is lost where nothing can be is no achievement.
TEST(advise_model, its_error_is_that_of_the_points_where_something_was_lost_or_predicted)
{
	fitted_model model;
	for (const auto &[predicted, measured] : {std::pair{0.0, 0.0}, {0.0, 0.0}, {0.0, 0.0}, {0.5, 0.4}, {0.0, 0.3},
						  {0.2, 0.0}})
		model.checks.push_back({nullptr, predicted, measured, measured, measured});
	EXPECT_EQ(model.telling(), 3u);
	EXPECT_NEAR(model.median_error(), 0.2, 1e-9);
	EXPECT_NEAR(model.largest_error(), 0.3, 1e-9);
	model.checks.resize(3);
	EXPECT_EQ(model.telling(), 0u);
}

TEST(advise_model, reports_its_error_where_it_is_wrong)
{
	json data = made_by({.events_per_s = 200'000, .pause_s = 0.02, .events_per_connection = 4, .fixed_events = 0});
	for (json &run : data["stress"])
		if (run["scenario"] == "steady") {
			run["events"]["lost"]["socket"] = 2400;
			run["events"]["delivered"] = 5600;
		}
	const auto all = check_results("made", data);
	ASSERT_TRUE(all);
	const auto points = points_of(*all);
	EXPECT_NEAR(fit_model(points, "host", "netlink")->largest_error(), 0.3, 0.001);
	EXPECT_FALSE(fit_model(points, "host", "ringbuf")) << "it was not measured";
}

} // namespace

} // namespace pm::report
