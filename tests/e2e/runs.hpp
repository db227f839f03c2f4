// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What holds of every run that replay and compare report, whatever was lost.
#pragma once

#include <cmath>
#include <cstdint>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace pm::e2e {

using nlohmann::json;

inline std::uint64_t lost(const json &run)
{
	std::uint64_t sum = 0;
	for (const auto &[stage, count] : run.at("lost").items())
		sum += count.get<std::uint64_t>();
	return sum;
}

// The fields that a run has, of which types, and that its sums close.
inline void expect_adds_up(const json &run)
{
	SCOPED_TRACE(run.at("backend").get<std::string>() + ' ' + run.at("pace").dump() + ' ' +
		     run.at("trace").get<std::string>());
	EXPECT_FALSE(run.at("policy").get<std::string>().empty());
	EXPECT_GT(run.at("offered_per_s").get<double>(), 0);
	EXPECT_TRUE(run.at("cpu_ns_per_event").is_null() || run.at("cpu_ns_per_event") >= 0);

	const std::uint64_t delivered = run.at("delivered");
	EXPECT_EQ(run.at("emitted"), delivered + lost(run));

	const json &decisions = run.at("decisions");
	const std::uint64_t expected = decisions.at("expected"), made = decisions.at("made");
	EXPECT_EQ(expected - decisions.at("missing").get<std::uint64_t>(),
		  made - decisions.at("wrong").get<std::uint64_t>())
		<< "both are the decisions that are right";

	const json &latency = run.at("latency_ns");
	const std::uint64_t timed = latency.at("n");
	// The calm tail is not timed. mptcpd is watched from outside: while answers to its commands are in its queue, when it
	// reads cannot be told.
	const json &tail = run.at("tail_delivered");
	const std::uint64_t tail_emitted = run.at("tail_emitted");
	const auto of_tail = tail.is_null() ? 0u
					    : static_cast<std::uint64_t>(std::llround(
						      tail.get<double>() * static_cast<double>(tail_emitted)));
	const std::uint64_t of_load = delivered - of_tail;
	EXPECT_LE(timed, of_load);
	EXPECT_TRUE(timed == of_load || run.at("backend").get<std::string>().starts_with("mptcpd"))
		<< timed << " of " << of_load;
	std::uint64_t last = 0;
	for (const char *percentile : {"p50", "p90", "p99", "p999", "max"}) {
		EXPECT_GE(latency.at(percentile), last) << percentile;
		last = latency.at(percentile);
	}
	std::uint64_t counted = 0;
	for (const json &bucket : latency.at("histogram"))
		counted += bucket.at(1).get<std::uint64_t>();
	EXPECT_EQ(counted, timed);

	EXPECT_TRUE(tail.is_null() || (tail >= 0 && tail <= 1)) << tail;
}

// Nothing was lost, and a backend with our policies decided as the oracle did.
inline void expect_all_decided(const json &run)
{
	EXPECT_EQ(lost(run), 0u) << run.at("backend");
	const json &decisions = run.at("decisions");
	EXPECT_GT(decisions.at("expected"), 0);
	EXPECT_EQ(decisions.at("made"), decisions.at("expected")) << run.at("backend");
	EXPECT_EQ(decisions.at("missing"), 0) << run.at("backend");
	EXPECT_EQ(decisions.at("wrong"), 0) << run.at("backend");
}

inline void expect_says_where(const json &results)
{
	for (const char *field : {"processor", "processors", "memory", "architecture", "kernel"})
		EXPECT_TRUE(results.at("machine").contains(field)) << field;
	EXPECT_GT(results.at("machine").at("processors"), 0);
	for (const char *program : {"pathlab", "mptcpd", "libbpf", "compiler"})
		EXPECT_TRUE(results.at("versions").contains(program)) << program;
}

} // namespace pm::e2e
