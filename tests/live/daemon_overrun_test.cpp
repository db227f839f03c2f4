// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The daemon's socket overruns: a million events that are nobody's, and a thousand connections that come and go
// meanwhile. Soon afterwards each connection has its paths, and every event is accounted for. Stock mptcpd, for contrast.
#include <csignal>
#include <future>
#include <iostream>
#include <numeric>
#include <optional>
#include <thread>

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include "pm-netlink/codec.hpp"
#include "pm-netlink/socket_memory.hpp"
#include "replay/child.hpp"
#include "replay/clock.hpp"
#include "replay/group_sender.hpp"
#include "tests/support/scene.hpp"

namespace {

using namespace pm;
using namespace pm::test;
using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using netlink::event_counters;
using netlink::event_source;
using replay::group_sender;

constexpr std::uint64_t million = 1'000'000;
constexpr double recovery = 10; // seconds, at the most

event_source listen_to(const netns &where)
{
	return must(in_namespace(where, [] { return event_source::open({}); }));
}

// Sends events of a connection that does not exist, as fast as it can.
class burst {
public:
	explicit burst(const netns &where)
		: sender_(must(in_namespace(where, [] { return group_sender::open(); }))),
		  events_(group_sender::most_at_once)
	{
		for (replay::due_event &each : events_) {
			each.event.type = PM_CLOSED;
			each.event.token = 1;
			each.length = netlink::encode_event(each.event, sender_.family().id, each.message);
		}
	}
	void send(std::uint64_t count)
	{
		for (std::uint64_t sent = 0; sent < count; sent += events_.size())
			must(sender_.send(
				std::span(events_).first(std::min<std::uint64_t>(count - sent, events_.size()))));
	}

private:
	group_sender sender_;
	std::vector<replay::due_event> events_;
};

// All that was sent to a socket, as far as it has been read.
std::uint64_t sum(const event_counters &all)
{
	return std::accumulate(all.refused.begin(), all.refused.end(), all.delivered + all.lost + all.foreign_sender);
}
std::uint64_t sum(const nlohmann::json &events)
{
	std::uint64_t all = events.at("delivered").get<std::uint64_t>() + events.at("lost").get<std::uint64_t>() +
			    events.at("foreign_sender").get<std::uint64_t>();
	for (const auto &malformed : events.at("malformed"))
		all += malformed.get<std::uint64_t>();
	return all;
}

class daemon_overrun : public testing::Test {
protected:
	scene s;
	// Hears what the daemon hears, to check the sums: what is sent to a group is sent to all, and what a socket loses is
	// counted too.
	event_source witness = listen_to(s.world.client);

	// The burst, with connections that come and go all the time, and the daemon standing still for a part of it.
	void overrun(daemon_process &daemon)
	{
		burst noise(s.world.client);
		auto sending = std::async(std::launch::async, [&] { noise.send(million); });
		for (unsigned part = 0; part < 4; ++part) {
			daemon.signal(part == 1 ? SIGSTOP : SIGCONT);
			s.connections.open(200);
			s.connections.close(100);
		}
		sending.get();
	}

	void expect_every_event_to_be_accounted_for(daemon_process &daemon)
	{
		std::uint64_t here = 0, there = 0;
		EXPECT_TRUE(await(recovery,
				  [&] {
					  must(witness.drain([](const pm_event &) {}));
					  here = sum(witness.counters());
					  there = sum(daemon.status().at("events"));
					  return here == there && here > million;
				  }))
			<< "sent to a witness: " << here << ", to the daemon: " << there;
		const auto events = daemon.status().at("events");
		EXPECT_GT(events.at("lost"), 0);
		EXPECT_GE(events.at("lost").get<std::uint64_t>() + events.at("foreign_sender").get<std::uint64_t>(),
			  million);
		EXPECT_GT(events.at("delivered"), 0);
		for (const auto &malformed : events.at("malformed"))
			EXPECT_EQ(malformed, 0);
		std::cout << "of " << there << " events " << events.at("lost") << " were lost, "
			  << events.at("foreign_sender") << " refused, " << events.at("delivered") << " delivered\n";
	}
};

TEST_F(daemon_overrun, costs_no_connection_its_paths)
{
	daemon_process &daemon = s.manage({"fullmesh", "--set", "buffer=65536"});
	s.connections.open(200);
	const paths expected{{from_to(0, 0), 1}, {from_to(1, 0), 1}};
	s.expect_paths(expected);
	const std::uint64_t resyncs = daemon.figure("/resyncs/done");
	overrun(daemon);
	std::cout << s.connections.size() << " connections have their paths " << s.expect_paths(expected, recovery)
		  << " s after the burst\n";
	EXPECT_GT(daemon.figure("/resyncs/done"), resyncs);
	EXPECT_GT(daemon.figure("/resyncs/adopted"), 0u); // what was opened while it stood still
	expect_every_event_to_be_accounted_for(daemon);
	s.expect_paths_to_stay(expected, daemon);
	EXPECT_EQ(daemon.figure("/connections/open"), s.connections.size());
	EXPECT_NE(daemon.said().find("lost"), std::string::npos) << daemon.said();
	s.connections.open(100); // and it still hears
	s.expect_paths(expected, recovery);
}

// What the kernel echoes, and nobody can read back.
TEST_F(daemon_overrun, costs_no_connection_the_paths_to_what_its_peer_announced)
{
	(void)s.manage({"announce"}, &s.world.server);
	daemon_process &daemon = s.manage({"fullmesh", "--set", "buffer=65536"});
	// No more at a time than its buffer has room for, however busy this machine is.
	for (unsigned part = 0; part < 8; ++part) {
		s.connections.open(25);
		s.expect_paths(all_pairs(2));
	}
	overrun(daemon);
	std::cout << s.connections.size() << " connections have their paths " << s.expect_paths(all_pairs(2), recovery)
		  << " s after the burst\n";
	expect_every_event_to_be_accounted_for(daemon);
	const auto announcements = daemon.status().at("announcements");
	std::cout << "announcements: " << announcements << '\n';
	EXPECT_GT(announcements.at("missed"), 0);
	EXPECT_GT(announcements.at("recovered"), 0);
	s.expect_paths_to_stay(all_pairs(2), daemon);
}

TEST_F(daemon_overrun, of_a_busy_daemon_by_its_own_connections_costs_none_its_paths)
{
	daemon_process &daemon = s.manage({"fullmesh", "--set", "buffer=4096"});
	const paths expected{{from_to(0, 0), 1}, {from_to(1, 0), 1}};
	for (unsigned round = 0; round < 10; ++round) {
		daemon.signal(round % 2 ? SIGSTOP : SIGCONT);
		s.connections.open(100);
		s.connections.close(50);
	}
	daemon.signal(SIGCONT);
	s.expect_paths(expected, recovery);
	EXPECT_GT(daemon.figure("/events/lost"), 0u);
	s.expect_paths_to_stay(expected, daemon);
}

// ---- for contrast ----

// Starts mptcpd in `where`, on this thread, because the child dies with its thread.
replay::child start_mptcpd(const netns &where)
{
	const auto home = must(netns::current());
	cpu_set_t allowed;
	sched_getaffinity(0, sizeof allowed, &allowed);
	must(where.enter());
	auto started = replay::child::start({"/usr/libexec/mptcpd", "--load-plugins=sspi", "--path-manager=sspi"},
					    replay::receiving_cpu);
	must(home.enter());
	sched_setaffinity(0, sizeof allowed, &allowed);
	return must(std::move(started));
}

// mptcpd has no plugin that opens subflows by itself, so this shows what it hears. Not asserted: it is not ours to say what
// a later version does.
TEST_F(daemon_overrun, stock_mptcpd_after_one)
{
	if (access("/usr/libexec/mptcpd", X_OK) != 0)
		GTEST_SKIP() << "mptcpd is not installed";
	must(s.world.client.set_sysctl("net.mptcp.pm_type", "1"));
	std::optional<replay::child> daemon;
	descriptor socket;
	const auto has_read = [&] { return memory_of(socket.get()).queued_bytes == 0; };
	// Now and then it hears nothing from the beginning, when events come while it starts.
	for (unsigned attempt = 0; attempt < 3 && !(socket && has_read()); ++attempt) {
		daemon.reset();
		daemon.emplace(start_mptcpd(s.world.client));
		ASSERT_TRUE(await(scene::patience, [&] {
			socket = must(daemon->socket_in_group(witness.family().events_group));
			return static_cast<bool>(socket);
		}));
		std::this_thread::sleep_for(100ms); // it still asks for addresses and limits after that
		s.connections.open(10);
		(void)await(2, has_read);
	}
	if (!has_read()) {
		std::cout << "mptcpd hears nothing at all here\n";
		return;
	}
	burst noise(s.world.client);
	daemon->pause();
	noise.send(10'000);
	ASSERT_GT(memory_of(socket.get()).drops, 0u);
	kill(daemon->pid(), SIGCONT);
	const bool reads = await(2, has_read);
	const std::uint32_t drops = memory_of(socket.get()).drops;
	s.connections.open(100);
	const auto after = memory_of(socket.get());
	std::cout << "mptcpd " << (reads ? "went on reading" : "read nothing for 2 s")
		  << " after an overrun; of 100 calm "
		  << "connections afterwards " << after.drops - drops << " events were dropped, and "
		  << after.queued_bytes << " bytes wait to be read\n";
}

} // namespace
