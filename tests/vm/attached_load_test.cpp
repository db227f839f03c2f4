// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A policy attached in the kernel under load: it hears of every connection, leaves none without its paths, and leaves nothing
// behind. PATHLAB_CONNECTIONS says how many short connections (1,000,000 for the real thing, which takes an hour under
// emulation), PATHLAB_ROUNDS how often things are attached and taken off.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <thread>

#include <gtest/gtest.h>
#include <net/if.h>

#include "pm-bpf/attachment.hpp"
#include "replay/load.hpp"
#include "tests/support/attachment.hpp"
#include "tests/support/kernel.hpp"
#include "tests/support/scene.hpp"

namespace {

using namespace pm;
using namespace pm::test;
using replay::run_load;

std::uint64_t from_environment(const char *name, std::uint64_t otherwise)
{
	const char *text = std::getenv(name);
	const std::uint64_t number = text ? std::strtoull(text, nullptr, 10) : 0;
	return number ? number : otherwise;
}

void expect_nothing_put_off(const attachment &attached)
{
	const auto status = attached.status();
	EXPECT_EQ(status.at("looks").at("put_off_busy"), 0) << status;
	EXPECT_EQ(status.at("looks").at("put_off_memory"), 0);
	for (const auto &[what, count] : status.at("no_room").items())
		EXPECT_EQ(count, 0) << what;
}

TEST(attached_load, of_very_many_short_connections_loses_no_event_and_leaves_nothing)
{
	const std::uint64_t usual = kernel_checks_itself() ? 500 : 5'000;
	const std::uint64_t asked = from_environment("PATHLAB_CONNECTIONS", usual), at_once = usual / 2;
	scene s;
	const in_the_kernel before;
	{
		const attachment client(s.world.client, {"fullmesh"}), server(s.world.server, {"announce"});
		std::uint64_t made = 0, joins = 0, memory = 0;
		const auto begun = std::chrono::steady_clock::now();
		while (made < asked && !HasFailure()) {
			const auto report = must(run_load(s.world, {.connections = std::min(at_once, asked - made),
								    .rate = replay::full_rate,
								    .hold_ms = 20,
								    .patience_ms = 60'000}));
			EXPECT_EQ(report.failed, 0u) << report.first_failure;
			made += report.made;
			for (const replay::made_connection &each : report.connections)
				joins += each.subflows;
			for (const attachment *each : {&client, &server})
				EXPECT_TRUE(
					await(scene::patience, [&] { return each->figure("/connections/open") == 0; }))
					<< each->figure("/connections/open") << " connections are still there";
			if (!memory)
				memory = unreclaimable_kib();
		}
		const std::uint64_t at_the_end = unreclaimable_kib();
		const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
		std::cout
			<< made << " connections in " << seconds << " s with " << joins
			<< " further subflows while they lasted; memory that the kernel cannot reclaim after the first "
			<< at_once << ": " << memory << " KiB, at the end: " << at_the_end << " KiB\n";
		for (const attachment *each : {&client, &server}) {
			EXPECT_EQ(each->figure("/events/created"), made);
			EXPECT_EQ(each->figure("/events/established"), made);
			EXPECT_EQ(each->figure("/events/closed"), made);
			expect_nothing_put_off(*each);
		}
		EXPECT_GT(joins, 0u);
		EXPECT_TRUE(at_the_end <= memory + memory / 5 || kernel_checks_itself());
	}
	expect_no_more_than(before);
}

// Those that are open for longer than the slow machine takes to open a path have it, however fast they come, and both ends
// are called for each event of each. (The guard opens nothing, and counts.)
TEST(attached_load, of_many_connections_of_some_seconds_leaves_none_without_its_paths)
{
	constexpr std::uint64_t connections = 1000;
	scene s;
	const attachment client(s.world.client, {"fullmesh"}),
		server(s.world.server, {"guard", "--most-subflows", "64"});
	const auto report = must(run_load(s.world, {.connections = connections,
						    .rate = replay::full_rate,
						    .hold_ms = 3000,
						    .patience_ms = 60'000}));
	EXPECT_EQ(report.failed, 0u) << report.first_failure;
	for (const attachment *each : {&client, &server}) {
		for (const char *event : {"created", "established", "subflow_established", "closed"}) {
			const std::string figure = std::string("/events/") + event;
			EXPECT_TRUE(await(scene::patience, [&] { return each->figure(figure) >= connections; }));
			EXPECT_EQ(each->figure(figure), connections) << event;
		}
	}
	const auto lacking = std::count_if(report.connections.begin(), report.connections.end(),
					   [](const replay::made_connection &each) { return each.subflows != 1; });
	EXPECT_EQ(lacking, 0);
}

TEST(attached_load, of_many_at_once_beside_busy_threads_leaves_none_without_its_paths)
{
	constexpr std::size_t connections = 1000;
	scene s(3);
	const attachment client(s.world.client, {"fullmesh"}), server(s.world.server, {"announce"});
	std::atomic<bool> enough = false;
	std::vector<std::thread> busy;
	for (unsigned i = 0; i < 4; ++i)
		busy.emplace_back([&] {
			while (!enough)
				;
		});
	s.connections.open(connections);
	s.expect_paths(all_pairs(3), 120);
	enough = true;
	for (std::thread &each : busy)
		each.join();
	EXPECT_GE(client.figure("/events/add_addr_received"), server.figure("/commands/announce"));
	expect_nothing_put_off(client);
	expect_nothing_put_off(server);
}

// ---- bursts of announcements: the kernel's own path manager drops one if it is still busy with the one before ----

constexpr unsigned burst_paths = 4;
constexpr std::size_t burst_connections = 200;

TEST(attached_load, of_bursts_of_announcements_uses_every_one)
{
	scene s(burst_paths);
	const netlink::mib dropped = counter_in(s.world.client, "AddAddrDrop");
	const attachment client(s.world.client, {"fullmesh"}), server(s.world.server, {"announce"});
	s.connections.open(burst_connections);
	s.expect_paths(all_pairs(burst_paths), 120);
	const std::uint64_t announced = server.figure("/commands/announce"),
			    heard = client.figure("/events/add_addr_received");
	std::cout << announced << " announcements, heard " << heard
		  << " times\n"; // the kernel repeats what is not answered
	EXPECT_GE(announced, (burst_paths - 1) * burst_connections);
	EXPECT_GE(heard, announced);
	EXPECT_EQ(dropped.read().value_or(0), 0u);
}

// Otherwise the one above would show nothing.
TEST(attached_load, of_bursts_of_announcements_is_too_much_for_the_kernels_own)
{
	scene s(burst_paths);
	const netlink::mib dropped = counter_in(s.world.client, "AddAddrDrop");
	run_in(s.world.client, "ip mptcp limits set subflow 8 add_addr_accepted 8");
	const attachment server(s.world.server, {"announce"});
	s.connections.open(burst_connections);
	EXPECT_TRUE(await(scene::patience, [&] { return dropped.read().value_or(0) > 0; }));
	std::cout << dropped.read().value_or(0) << " dropped\n";
}

// ---- attached, replaced, detached and deleted, again and again, while connections come and go ----

void expect_done(const netns &where, const words &arguments)
{
	const said answer = pathlab(where, arguments);
	EXPECT_EQ(answer.status, 0) << answer.err;
}

// A namespace that is deleted while connections are open in it, and while they are managed. They alone keep it from then on,
// out of everybody's reach, for a namespace lives as long as its sockets: it goes with the last one that the kernel frees.
class going {
public:
	static constexpr std::size_t number = 20;

	going()
	{
		run_in(world_.client, "ip netns attach going $$");
		expect_done(world_.server, {"attach", "fullmesh", "-n", "going", "--name", "third"});
		connections_.open(number);
		path_reader client(world_.client);
		const paths wanted{{from_to(0, 0), 1}, {from_to(1, 0), 1}};
		const auto lacks = [&] { return difference(client.by_connection(), number, wanted); };
		EXPECT_TRUE(await(scene::patience, [&] { return lacks().empty(); })) << lacks();
	}

	// Half of the connections are closed at both ends. Of the others the server does not say yet that it has nothing more
	// to send, so the kernel waits for that: a minute (TCP_TIMEWAIT_LEN), whatever is set, and then it frees them.
	void delete_it(bool detach_before_they_are_closed)
	{
		EXPECT_EQ(std::system("ip netns delete going"), 0);
		{
			const netns last = std::move(world_.client);
		}
		EXPECT_TRUE(await(scene::patience, [&] { return third().at("state") == "namespace gone"; })) << third();
		EXPECT_EQ(third().at("connections").at("open"), number);
		if (detach_before_they_are_closed)
			expect_detached("20 connections keep it until closed");
		connections_.close(number / 2);
		waiting_since_ = std::chrono::steady_clock::now();
		connections_.close_at_the_client();
		EXPECT_TRUE(is_linked()) << "it went before its connections";
	}

	void expect_gone_with_its_connections()
	{
		const bool waits = is_linked();
		const auto waited = std::chrono::steady_clock::now() - waiting_since_;
		// A debugging kernel comes here after more than that minute.
		EXPECT_TRUE(waits || waited > std::chrono::minutes(1)) << "it did not wait for its connections";
		connections_.close(number);
		EXPECT_TRUE(await(scene::patience, [&] { return !is_linked(); })) << "something keeps the namespace";
		if (third().is_null())
			return;
		EXPECT_EQ(third().at("events").at("closed"), number);
		expect_detached("its network namespace is gone");
	}

private:
	nlohmann::json third() const
	{
		for (const auto &each : attachments(world_.server))
			if (each.at("name") == "third")
				return each;
		return nullptr;
	}

	void expect_detached(const std::string &words) const
	{
		const said answer = pathlab(world_.server, {"detach", "third"});
		EXPECT_EQ(answer.status, 0) << answer.err;
		EXPECT_NE(answer.out.find(words), std::string::npos) << answer.out;
	}

	// A link has two ends or none.
	bool is_linked() const
	{
		return must(in_namespace(world_.server, []() -> expected<bool> {
			return if_nametoindex(replay::lab::link_name(0).c_str()) != 0;
		}));
	}

	replay::lab world_ = must(replay::lab::create({.paths = 2, .endpoints = false}));
	attachment server_{world_.server, {"guard", "--most-subflows", "8", "--name", "fourth"}}; // which takes joins
	crowd connections_{world_, scene::port};
	std::chrono::steady_clock::time_point waiting_since_;
};

// ndiffports where there are none: TCP may give a new connection the 4-tuple of one of its subflows (docs/kernel-notes.md).
TEST(attached_load, survives_all_that_is_attached_replaced_detached_and_deleted_meanwhile)
{
	const std::uint64_t rounds = from_environment("PATHLAB_ROUNDS", 3);
	const in_the_kernel before;
	{
		scene s;
		std::atomic<bool> enough = false;
		std::uint64_t made = 0, failed = 0;
		std::string why;
		std::thread load([&] {
			while (!enough) {
				const auto report = run_load(s.world, {.connections = 200,
								       .rate = 200,
								       .hold_ms = 100,
								       .patience_ms = 60'000});
				made += report ? report->made : 0;
				failed += report ? report->failed : 1;
				why += report ? report->first_failure : report.error().text;
			}
		});
		for (std::uint64_t i = 0; i < rounds && !HasFailure(); ++i) {
			expect_done(s.world.client, {"attach", "fullmesh", "--name", "first"});
			expect_done(s.world.server, {"attach", "announce", "--allow", "0.0.0.0/0", "--allow", "::/0"});
			going third;
			expect_done(s.world.client, {"attach", "single-per-interface", "--replace",
						     "--name", "second"});
			third.delete_it(i % 2 == 1);
			expect_done(s.world.client, {"attach", "backup", "--set", "backup-interface=lo", "--replace",
						     "--name", "second"});
			expect_done(s.world.client, {"detach", "second"});
			expect_done(s.world.server, {"detach", "announce"});
			third.expect_gone_with_its_connections();
		}
		enough = true;
		load.join();
		EXPECT_EQ(failed, 0u) << why;
		std::cout << rounds << " rounds beside " << made << " connections\n";
	}
	expect_no_more_than(before);
	EXPECT_EQ(must(read_sysctl("net.mptcp.available_path_managers")), "kernel userspace");
}

} // namespace
