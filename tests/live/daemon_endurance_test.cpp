// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Very many short connections: the daemon is as large after them as it was after the first ones. PATHLAB_CONNECTIONS says
// how many (1,000,000 for the real thing, which takes minutes).
#include <cstdlib>
#include <iostream>

#include <gtest/gtest.h>

#include "replay/load.hpp"
#include "tests/support/scene.hpp"

namespace {

using namespace pm;
using namespace pm::test;

std::uint64_t asked_for()
{
	const char *text = std::getenv("PATHLAB_CONNECTIONS");
	const std::uint64_t number = text ? std::strtoull(text, nullptr, 10) : 0;
	return number ? number : 250'000;
}

TEST(daemon_endurance, of_very_many_short_connections_leaves_it_as_large_as_it_was)
{
	constexpr std::uint64_t warm_up = 50'000, at_once = 50'000;
	scene s;
	daemon_process &daemon = s.manage({"fullmesh"});
	std::uint64_t made = 0, joins = 0;
	const auto load = [&](std::uint64_t connections) {
		const auto report = must(replay::run_load(s.world, {.connections = connections,
								    .rate = 1e6,
								    .hold_ms = 5,
								    .patience_ms = 30'000}));
		EXPECT_EQ(report.failed, 0u) << report.first_failure;
		made += report.made;
		for (const replay::made_connection &each : report.connections)
			joins += each.subflows;
		EXPECT_TRUE(await(scene::patience, [&] { return daemon.figure("/connections/open") == 0; }))
			<< daemon.figure("/connections/open") << " connections are still in the table";
	};
	const auto begun = std::chrono::steady_clock::now();
	load(warm_up);
	const std::uint64_t memory = daemon.memory_kib();
	while (made < asked_for() && !HasFailure())
		load(std::min(at_once, asked_for() - made));
	const std::uint64_t at_the_end = daemon.memory_kib();
	const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
	const auto status = daemon.status();
	std::cout << made << " connections in " << seconds << " s with " << joins
		  << " further subflows while they lasted; resident after " << warm_up << ": " << memory
		  << " KiB, at the end: " << at_the_end << " KiB; events lost: " << status.at("events").at("lost")
		  << ", resyncs: " << status.at("resyncs").at("done") << '\n';
	EXPECT_LE(at_the_end, memory + memory / 20);
	EXPECT_EQ(status.at("subflows").at("established"), 0);
	EXPECT_EQ(status.at("retries").at("waiting"), 0);
	EXPECT_EQ(status.at("commands").at("queued"), 0);
	EXPECT_GT(joins, 0u);
}

} // namespace
