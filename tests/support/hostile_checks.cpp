// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "tests/support/hostile_checks.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <numeric>
#include <set>
#include <utility>

#include <gtest/gtest.h>
#include <poll.h>

#include "pm-core/address.hpp"
#include "pm-netlink/commander.hpp"
#include "pm-netlink/pacing.hpp"
#include "tests/support/scene.hpp"

namespace pm::test {

namespace {

using clock = std::chrono::steady_clock;
using netlink::commander;
using netlink::event_source;
using replay::lab;

// A connection is held once it has caused more than pacer::most_commands_per_second; what the last event caused comes on top.
constexpr double most_a_second = netlink::pacer::most_commands_per_second + PM_MAX_COMMANDS;

double seconds_since(clock::time_point then) { return std::chrono::duration<double>(clock::now() - then).count(); }

const paths one{{from_to(0, 0), 1}}, both{{from_to(0, 0), 1}, {from_to(1, 0), 1}};

// A server whose path manager is the test.
class hostile_server {
public:
	explicit hostile_server(scene &s)
		: commands_(must(in_namespace(s.world.server, [] { return commander::open(); }))),
		  events_(must(in_namespace(s.world.server, [] { return event_source::open({}); })))
	{
		heard_.push_back(counter_in(s.world.client, "AddAddr"));
		// The kernel drops one that comes while it is busy with the one before, but not without telling of it.
		unheard_.push_back(counter_in(s.world.client, "RmAddr"));
		unheard_.push_back(counter_in(s.world.client, "RmAddrDrop"));
	}

	// Yields whether the client has heard of it.
	bool announce(std::uint32_t token, const pm_addr &address, std::uint8_t id)
	{
		pm_command command{};
		command.type = PM_ANNOUNCE;
		command.token = token;
		command.local = address;
		command.local_id = id;
		commands_.queue(command);
		return tell(heard_);
	}
	bool withdraw(std::uint32_t token, std::uint8_t id) { return withdraw_at_once(token, {id}); }
	bool withdraw_at_once(std::uint32_t token, const std::vector<std::uint8_t> &ids)
	{
		for (const std::uint8_t id : ids) {
			pm_command command{};
			command.type = PM_WITHDRAW;
			command.token = token;
			command.local_id = id;
			commands_.queue(command);
		}
		return tell(unheard_);
	}
	// Closes whatever has joined. Yields how many those were.
	unsigned close_what_joined()
	{
		unsigned closed = 0;
		must(events_.drain([&](const pm_event &event) {
			if (event.type != PM_SUB_ESTABLISHED)
				return;
			pm_command command{};
			command.type = PM_CLOSE_SUBFLOW;
			command.token = event.token;
			command.local = event.local;
			command.remote = event.remote;
			command.local_port = event.local_port;
			command.remote_port = event.remote_port;
			commands_.queue(command);
			++closed;
		}));
		while (commands_.queued() > 0)
			must(commands_.exchange([](const netlink::command_answer &) {}));
		return closed;
	}
	void wait_for_events(int ms)
	{
		pollfd ready{events_.fd(), POLLIN, 0};
		poll(&ready, 1, ms);
	}

private:
	using counters = std::vector<netlink::mib>;

	static std::uint64_t sum(const counters &all)
	{
		return std::accumulate(all.begin(), all.end(), std::uint64_t{0},
				       [](std::uint64_t so_far, const netlink::mib &each) {
					       return so_far + each.read().value_or(0);
				       });
	}
	// What is queued.
	bool tell(const counters &heard)
	{
		const std::uint64_t before = sum(heard), commands = commands_.queued();
		bool taken = true;
		must(commands_.exchange(
			[&](const netlink::command_answer &answer) { taken = taken && answer.error == 0; }));
		return taken && await(5, [&] { return sum(heard) >= before + commands; });
	}

	commander commands_;
	event_source events_;
	counters heard_, unheard_;
};

std::uint32_t first_token(path_reader &reader) { return reader.list().connections.at(0).token; }

// The limit of the kernel's own path manager.
void let_the_kernel_take_subflows(const netns &where, unsigned number)
{
	run_in(where, "ip mptcp limits set subflow " + std::to_string(number));
}

// What a while of hostility has cost who is in charge.
class cost {
public:
	cost(const charge &in_charge, std::size_t connections)
		: in_charge_(in_charge), connections_(connections), memory_(in_charge.memory_kib()),
		  commands_(in_charge.commands())
	{
	}
	~cost()
	{
		const double seconds = seconds_since(begun_);
		const std::uint64_t commands = in_charge_.commands() - commands_, memory = in_charge_.memory_kib();
		EXPECT_LE(static_cast<double>(commands),
			  (seconds + 1) * most_a_second * static_cast<double>(connections_));
		EXPECT_TRUE(memory <= memory_ + 1024 || !in_charge_.memory_is_told())
			<< memory << " KiB, " << memory_ << " before";
		std::cout << "in " << seconds << " s " << commands << " commands; memory: " << memory_ << ", then "
			  << memory << " KiB; holds " << in_charge_.times(happening::hold) << ", retries "
			  << in_charge_.times(happening::retry) << ", pairs given up "
			  << in_charge_.times(happening::pair_exhausted) << '\n';
	}

private:
	const charge &in_charge_;
	std::size_t connections_;
	clock::time_point begun_ = clock::now();
	std::uint64_t memory_, commands_;
};

// Not by the userspace path manager, which takes every join while anybody listens to events, wherever.
void serve_by_the_kernels_own(scene &s)
{
	must(s.world.server.set_sysctl("net.mptcp.pm_type", "0"));
	must(s.world.client.set_sysctl("net.mptcp.pm_type", "1"));
}

} // namespace

void expect_1000_addresses_to_cost_little(means by, bool that_never_answer)
{
	scene s;
	if (that_never_answer)
		run_in(s.world.client, "ip route add 10.100.0.0/16 via 10.0.2.2");
	hostile_server server(s);
	const auto in_charge = take_charge(s, by, {"fullmesh"});
	s.connections.open(1);
	s.expect_paths(both);
	const std::uint32_t token = first_token(s.server);
	{
		const cost measured(*in_charge, 1);
		const netlink::mib unsent = counter_in(s.world.server, "RmAddrTxDrop"); // while something else is to be sent
		unsigned unheard = 0;
		std::set<std::uint8_t> not_there;
		for (unsigned i = 0; i < 1000; ++i) {
			const auto id = static_cast<std::uint8_t>(1 + i % 255);
			if (i >= 255 && !not_there.erase(id) && !server.withdraw(token, id)) {
				++unheard; // a kernel without the series may drop one behind an echo, and nothing repeats it
				not_there.insert(id); // at the server, which has withdrawn it
				continue;
			}
			const pm_addr address = ipv4(10, 100, static_cast<u8>(i / 250), static_cast<u8>(1 + i % 250));
			ASSERT_TRUE(server.announce(token, address, id)) << i;
		}
		if (by == means::attachment)
			EXPECT_EQ(unheard, unsent.read().value_or(0));
		else
			EXPECT_LE(unheard, 5u);
		EXPECT_TRUE(await(scene::patience,
				  [&] { return in_charge->times(happening::announcement) >= 1000 - unheard; }));
	}
	EXPECT_GT(in_charge->times(happening::no_room_for_announcement), 0u);
	if (!that_never_answer) {
		EXPECT_TRUE(await(scene::patience, [&] { return in_charge->times(happening::pair_exhausted) > 0; }));
	}
	s.connections.open(1);
	s.expect_paths(both);
}

// The kernel remembers one removal for a connection. Of another one that comes before it has seen to that, it only tells.
void expect_addresses_withdrawn_at_once_to_be_left(means by)
{
	scene s(3);
	const netlink::mib forgotten = counter_in(s.world.client, "RmAddrDrop");
	hostile_server server(s);
	const auto in_charge = take_charge(s, by, {"fullmesh"});
	s.connections.open(1);
	const std::uint32_t token = first_token(s.server);
	for (unsigned round = 0; round < 20 && forgotten.read().value_or(0) == 0; ++round) {
		for (std::uint8_t id : {1, 2})
			ASSERT_TRUE(server.announce(token, lab::server_address(id, false), id));
		s.expect_paths(all_pairs(3));
		ASSERT_TRUE(server.withdraw_at_once(token, {1, 2}));
		s.expect_paths({{from_to(0, 0), 1}, {from_to(1, 0), 1}, {from_to(2, 0), 1}});
	}
	EXPECT_GT(forgotten.read().value_or(0), 0u);
}

// Where commands fail at once, so that there are very many of them.
void expect_a_peer_that_announces_all_the_time_to_be_held(means by)
{
	scene s;
	run_in(s.world.client, "ip route add unreachable 10.100.0.0/16");
	hostile_server server(s);
	const auto in_charge = take_charge(s, by, {"fullmesh"});
	s.connections.open(1);
	s.expect_paths(both);
	const std::uint32_t token = first_token(s.server);
	std::uint64_t before = in_charge->commands(), busiest = 0; // of the seconds
	{
		const cost measured(*in_charge, 1);
		const auto begun = clock::now();
		for (unsigned i = 0, second = 1; seconds_since(begun) < 4; ++i) {
			const pm_addr address = ipv4(10, 100, static_cast<u8>(i / 250), static_cast<u8>(1 + i % 250));
			const auto id = static_cast<std::uint8_t>(1 + i % 200);
			ASSERT_TRUE(server.announce(token, address, id));
			ASSERT_TRUE(server.withdraw(token, id));
			if (seconds_since(begun) < second)
				continue;
			++second;
			busiest = std::max(busiest, in_charge->commands() - std::exchange(before, in_charge->commands()));
		}
	}
	// A slow machine does not get that far. Seconds are counted from another moment there: one of ours can have parts of two.
	EXPECT_TRUE(in_charge->times(happening::hold) > 0 || static_cast<double>(busiest) <= 2 * most_a_second)
		<< busiest << " commands in a second, and it was not held";
	ASSERT_TRUE(server.announce(token, lab::server_address(1, false), 250));
	std::cout << "served " << s.expect_paths(all_pairs(2)) << " s after it is honest\n";
}

void expect_refused_joins_to_be_asked_for_seldom(means by)
{
	constexpr std::size_t connections = 50;
	scene s;
	serve_by_the_kernels_own(s);
	let_the_kernel_take_subflows(s.world.server, 0);
	const auto in_charge = take_charge(s, by, {"fullmesh"});
	s.connections.open(connections);
	{
		// The kernel refuses a join with a RST once it is complete: the client has seen it established. All the same,
		// each retry comes later than the one before: the third of them 1 + 2 + 4 seconds after the first attempt.
		const cost measured(*in_charge, connections);
		const auto begun = clock::now();
		EXPECT_TRUE(
			await(scene::patience, [&] { return in_charge->times(happening::retry) >= 3 * connections; }));
		EXPECT_GE(seconds_since(begun), 6) << "until each has been tried three times more";
		EXPECT_LE(s.joins_asked_for(), 4 * PM_MAX_CLOSURES * connections);
		EXPECT_GE(in_charge->times(happening::pair_exhausted), connections);
	}
	let_the_kernel_take_subflows(s.world.server, 8); // which is for new connections
	s.connections.close(connections);
	s.connections.open(connections);
	s.expect_paths(both);
}

// Asked for when the server's limit, which a connection begins with, has been lowered.
void expect_joins_refused_for_a_while_to_come_about(means by, bool older)
{
	constexpr std::size_t connections = 50;
	scene s;
	serve_by_the_kernels_own(s);
	let_the_kernel_take_subflows(s.world.server, 8);
	const netlink::mib heard = counter_in(s.world.server, "MPJoinSynRx");
	std::unique_ptr<charge> in_charge;
	if (!older) {
		run_in(s.world.client, "ip link set p1 down");
		in_charge = take_charge(s, by, {"fullmesh"});
	}
	s.connections.open(connections);
	let_the_kernel_take_subflows(s.world.server, 0);
	if (older)
		in_charge = take_charge(s, by, {"fullmesh"});
	else
		run_in(s.world.client, "ip link set p1 up");
	EXPECT_TRUE(await(scene::patience, [&] {
		return in_charge->times(happening::retry) >= connections && heard.read().value_or(0) >= connections;
	}));
	s.expect_paths(one);
	let_the_kernel_take_subflows(s.world.server, 8);
	std::cout << "joined " << s.expect_paths(both) << " s after the server takes joins\n";
	expect_paths_to_stay(s, *in_charge, both);
}

void expect_refused_joins_not_to_delay_the_next_connection_of_the_socket(means by)
{
	scene s;
	// Not even by its ports is it another connection.
	run_in(s.world.client, "sysctl -qw net.ipv4.ip_local_port_range='50000 50000'");
	serve_by_the_kernels_own(s);
	let_the_kernel_take_subflows(s.world.server, 0);
	const auto in_charge = take_charge(s, by, {"fullmesh"});
	s.connections.open(1);
	// After the third time it would be tried again 8 seconds later.
	ASSERT_TRUE(await(scene::patience, [&] { return in_charge->times(happening::pair_exhausted) >= 4; }));
	let_the_kernel_take_subflows(s.world.server, 8);
	s.connections.reconnect();
	s.expect_paths(both);
	EXPECT_EQ(in_charge->times(happening::retry), 3u);
}

// What every Linux server does that nobody has configured: 2 subflows beside the initial one.
void expect_what_every_server_takes_to_be_kept(means by)
{
	constexpr std::size_t connections = 10;
	scene s(4);
	must(s.world.server.set_sysctl("net.mptcp.pm_type", "0"));
	const auto in_charge = take_charge(s, by, {"fullmesh"});
	s.connections.open(connections);
	const cost measured(*in_charge, connections);
	const auto begun = clock::now();
	EXPECT_TRUE(await(scene::patience, [&] { return in_charge->times(happening::retry) >= 3 * connections; }));
	EXPECT_GE(seconds_since(begun), 6) << "until each has been tried three times more";
	std::cout << "asked for " << s.joins_asked_for() << " joins in " << seconds_since(begun) << " s\n";
	EXPECT_EQ(s.server.by_connection().size(), connections);
	for (const auto &[token, has] : s.server.by_connection())
		EXPECT_EQ(count(has), 3u);
}

void expect_dropped_joins_not_to_be_replaced_without_end(means by)
{
	scene s;
	constexpr std::size_t connections = 10;
	hostile_server server(s);
	const auto in_charge = take_charge(s, by, {"fullmesh"});
	s.connections.open(connections, socket_kind::ipv6);
	unsigned dropped = 0;
	{
		const cost measured(*in_charge, connections);
		const auto enough = [&](double seconds) {
			return seconds > (dropped < connections * PM_MAX_CLOSURES ? scene::patience : 5);
		};
		for (const auto begun = clock::now(); !enough(seconds_since(begun));) {
			server.wait_for_events(20);
			dropped += server.close_what_joined();
		}
	}
	std::cout << "it has dropped " << dropped << '\n';
	EXPECT_GE(dropped, connections * PM_MAX_CLOSURES);
	EXPECT_GT(in_charge->times(happening::pair_exhausted), 0u);
	EXPECT_GT(in_charge->times(happening::retry), 0u);
	const paths expected{{from_to(0, 0, true), 1}, {from_to(1, 0, true), 1}};
	std::cout << "joined " << s.expect_paths(expected) << " s after the server keeps joins\n";
}

} // namespace pm::test
