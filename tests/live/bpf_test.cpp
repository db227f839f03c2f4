// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The same decisions in the kernel as in userspace: every policy, in BPF behind the real verifier and natively, is given
// the same events and must issue the same commands, event by event.
#include <algorithm>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "pm-bpf/loader.hpp"
#include "tests/support/events.hpp"

using namespace pm;
using namespace pm::test;

namespace {

constexpr u32 connections = 12;
constexpr std::size_t events_in_a_stream = 1000;

// The results of some events. Those of the connections that a change of the namespace reached are in no order.
using outcome = std::vector<std::tuple<u32, u8, std::vector<std::string>>>;

struct recorder {
	outcome &results;
	void operator()(const pm_result &r) const
	{
		std::vector<std::string> commands;
		for (unsigned i = 0; i < r.commands; ++i)
			commands.emplace_back(reinterpret_cast<const char *>(&r.command[i]), sizeof r.command[i]);
		const u32 token = r.commands ? r.command[0].token : 0;
		results.emplace_back(token, r.status, std::move(commands));
	}
};

template <class T>
T pick(std::uint32_t &number, T most)
{
	number = number * 1664525u + 1013904223u;
	return static_cast<T>((number >> 16) % static_cast<std::uint32_t>(most));
}

pm_addr any_address(std::uint32_t &n, u8 host)
{
	const auto path = static_cast<u8>(1 + pick(n, 9));
	return pick(n, 3) ? ipv4(10, 0, path, host) : ipv6(path, host);
}

// Any event whatever, sensible or not, about few connections and addresses so that they meet.
pm_event any_event(std::uint32_t number)
{
	static constexpr u8 types[] = {PM_CREATED,         PM_ESTABLISHED,    PM_ESTABLISHED,      PM_ANNOUNCED,
				       PM_ANNOUNCED,       PM_REMOVED,        PM_SUB_ESTABLISHED,  PM_SUB_ESTABLISHED,
				       PM_SUB_ESTABLISHED, PM_SUB_CLOSED,     PM_SUB_CLOSED,       PM_SUB_PRIORITY,
				       PM_LOCAL_ADDED,     PM_LOCAL_ADDED,    PM_LOCAL_REMOVED,    PM_RESYNC_BEGIN,
				       PM_RESYNC_END,      PM_COMMAND_FAILED, PM_LISTENER_CREATED, PM_CLOSED};
	std::uint32_t n = number;
	pm_event e{};
	e.type = types[pick(n, sizeof types)];
	if (e.type == PM_CLOSED && pick(n, 3))
		e.type = PM_SUB_ESTABLISHED; // most connections should live for a while
	const bool of_namespace = e.type == PM_LOCAL_ADDED || e.type == PM_LOCAL_REMOVED ||
				  e.type == PM_LISTENER_CREATED;
	e.token = of_namespace ? 0 : 1 + pick(n, connections);
	const bool described = e.type == PM_CREATED || e.type == PM_ESTABLISHED;
	std::uint32_t fixed = e.token; // the same connection has the same addresses most of the time
	std::uint32_t &where = described && pick(n, 8) ? fixed : n;
	e.local = any_address(where, 1);
	e.remote = any_address(where, 2);
	e.local_port = static_cast<u16>(described ? 40000 + e.token : 50000 + pick(n, 6));
	e.remote_port = static_cast<u16>(pick(n, 8) ? server_port : 8080);
	e.local_id = static_cast<u8>(pick(n, 10));
	e.remote_id = static_cast<u8>(pick(n, 10));
	e.flags = static_cast<u8>(described ? (fixed % 5 == 0 ? PM_SERVER_SIDE : 0) |
						      (fixed % 4 == 0 ? PM_DENY_JOIN_ID0 : 0)
					    : pick(n, 2) * (e.type == PM_RESYNC_END ? PM_LISTED_ALL : PM_BACKUP));
	e.ifindex = 1 + pick(n, 4);
	e.error = static_cast<u8>(pick(n, 3));
	return e;
}

class same_in_bpf : public testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(policies, same_in_bpf, testing::Range<std::size_t>(0, all_policies().size()),
			 [](const auto &info) { return identifier(all_policies()[info.param].name); });

TEST_P(same_in_bpf, for_any_stream_of_events_the_commands_are_those_of_the_native_engine)
{
	const policy_info &policy = all_policies()[GetParam()];
	auto loaded = bpf::engine::load(policy, *make_settings(policy), {.most_connections = connections - 1});
	ASSERT_TRUE(loaded) << loaded.error().text;
	manager native{policy, *make_settings(policy), connections - 1};
	std::uint64_t events = 0;

	// Both go on from where the stream before has left them.
	const bool held = rc::check("same commands", [&] {
		std::vector<pm_event> stream;
		const auto numbers =
			*rc::gen::container<std::vector<std::uint32_t>>(events_in_a_stream,
									rc::gen::arbitrary<std::uint32_t>());
		for (const std::uint32_t number : numbers)
			stream.push_back(any_event(number));
		for (const pm_event &e : stream) {
			outcome here, there;
			native.handle(e, recorder{here});
			RC_ASSERT(loaded->handle({&e, 1}, recorder{there}).has_value());
			std::sort(here.begin(), here.end());
			std::sort(there.begin(), there.end());
			RC_ASSERT(here == there);
			++events;
		}
		RC_ASSERT(*loaded->connections() == native.connections());
	});
	EXPECT_TRUE(held);
	EXPECT_GE(events, 100000u);
	const std::uint64_t commands = native.counted().commands;
	EXPECT_GT(commands, events / 100) << "a stream that causes no commands shows nothing";
	RecordProperty("events", std::to_string(events));
	RecordProperty("commands", std::to_string(commands));
}

TEST(bpf, handles_a_batch_as_it_handles_single_events)
{
	const policy_info &policy = **find_policy("fullmesh");
	auto batched = bpf::engine::load(policy, *make_settings(policy), {});
	auto single = bpf::engine::load(policy, *make_settings(policy), {});
	ASSERT_TRUE(batched && single);
	std::vector<pm_event> stream;
	for (std::uint32_t i = 0; i < 5000; ++i)
		if (pm_event e = any_event(i * 2654435761u); e.token != 0)
			stream.push_back(e);
	outcome one, other;
	ASSERT_TRUE(batched->handle(stream, recorder{one}));
	for (const pm_event &e : stream)
		ASSERT_TRUE(single->handle({&e, 1}, recorder{other}));
	EXPECT_EQ(one, other);
	EXPECT_EQ(batched->counted().events, stream.size());
	EXPECT_GT(batched->program_ns(), 0u);
}

TEST(bpf, loses_and_counts_a_connection_for_which_the_map_has_no_room)
{
	const policy_info &policy = **find_policy("fullmesh");
	auto two = bpf::engine::load(policy, *make_settings(policy), {.most_connections = 2});
	ASSERT_TRUE(two) << two.error().text;
	for (u32 token = 1; token <= 3; ++token) {
		const pm_event e = established(token);
		ASSERT_TRUE(two->handle({&e, 1}, [](const pm_result &) {}));
	}
	EXPECT_EQ(*two->connections(), 2u);
	EXPECT_EQ(two->counted().table_full, 1u);
}

TEST(bpf, takes_at_most_one_kibibyte_of_the_map_for_a_connection)
{
	const policy_info &policy = **find_policy("fullmesh");
	auto loaded = bpf::engine::load(policy, *make_settings(policy), {});
	ASSERT_TRUE(loaded) << loaded.error().text;
	const auto bytes = loaded->map_bytes_per_connection();
	ASSERT_TRUE(bytes) << bytes.error().text;
	EXPECT_LE(*bytes, 1024);
	EXPECT_GE(*bytes, sizeof(pm_connection));
}

// Of a million. Those of the kernels that Debian ships: tests/on-other-kernel.
TEST(bpf, every_policy_stays_far_below_the_verifiers_limit)
{
	for (const policy_info &policy : all_policies()) {
		auto loaded = bpf::engine::load(policy, *make_settings(policy), {.most_connections = 1});
		ASSERT_TRUE(loaded) << loaded.error().text;
		const std::uint32_t instructions = loaded->verified_instructions();
		EXPECT_GT(instructions, 0u);
		EXPECT_LT(instructions, 70000u) << policy.name;
		std::cout << instructions << " instructions verified of " << policy.name << '\n';
		RecordProperty(identifier(policy.name), std::to_string(instructions));
	}
}

} // namespace
