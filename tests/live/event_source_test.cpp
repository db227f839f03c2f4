// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The event source against the kernel, each test in a network namespace of its own: real connections over loopback,
// replayed and malformed messages through the real multicast group, and floods past a small buffer.
#include <array>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/genetlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pm-core/address.hpp"
#include "pm-netlink/event_source.hpp"
#include "pm-netlink/mptcp_info.hpp"
#include "tests/support/kernel.hpp"
#include "tests/support/own_netns.hpp"

namespace {

using namespace pm;
using namespace pm::netlink;

using event_source_live = test::own_netns;

event_source open_source(const event_source::options &options = {}) { return test::must(event_source::open(options)); }

// A process that is not the kernel, multicasting into the event group of the namespace.
class replayer {
public:
	explicit replayer(const family &to)
	{
		sockaddr_nl own{};
		own.nl_family = to_.nl_family = AF_NETLINK;
		if (to.events_group < 1 || to.events_group > 32)
			throw std::runtime_error(
				"sendto cannot name the event group: only numbers 1 to 32 fit nl_groups");
		to_.nl_groups = 1u << (to.events_group - 1);
		if (bind(socket_.get(), reinterpret_cast<sockaddr *>(&own), sizeof own) != 0)
			throw std::runtime_error("cannot bind a netlink socket");
	}
	void send(bytes message) const
	{
		const auto *to = reinterpret_cast<const sockaddr *>(&to_);
		const ssize_t sent = sendto(socket_.get(), message.data(), message.size(), 0, to, sizeof to_);
		ASSERT_EQ(sent, static_cast<ssize_t>(message.size())) << strerror(errno);
	}

private:
	descriptor socket_{socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC)};
	sockaddr_nl to_{};
};

std::vector<std::byte> closed_event(std::uint16_t family, std::uint32_t token, std::uint32_t seq = 0)
{
	pm_event event{};
	event.type = PM_CLOSED;
	event.token = token;
	event.seq = seq;
	std::vector<std::byte> out(max_message);
	out.resize(encode_event(event, family, out));
	return out;
}

std::vector<pm_event> drain(event_source &source)
{
	std::vector<pm_event> events;
	const auto read = source.drain([&](const pm_event &event) { events.push_back(event); });
	EXPECT_TRUE(read) << (read ? "" : read.error().text);
	return events;
}

// Drains until `enough` events are there; 5 s without one is a failure.
std::vector<pm_event> wait_for(event_source &source, std::size_t enough)
{
	std::vector<pm_event> events;
	while (events.size() < enough) {
		pollfd ready{source.fd(), POLLIN, 0};
		if (poll(&ready, 1, 5000) <= 0) {
			ADD_FAILURE() << "only " << events.size() << " of " << enough << " events came";
			break;
		}
		const auto more = drain(source);
		events.insert(events.end(), more.begin(), more.end());
	}
	return events;
}

std::uint64_t sum(const event_counters &counters)
{
	std::uint64_t total = counters.delivered + counters.lost + counters.foreign_sender;
	for (const std::uint64_t refused : counters.refused)
		total += refused;
	return total;
}

std::uint32_t token_of(int socket)
{
	const auto info = read_mptcp_info(socket);
	EXPECT_TRUE(info) << strerror(errno);
	return info ? info->mptcpi_token : 0;
}

struct connection_ends {
	std::uint32_t client_token, server_token;
	std::uint16_t client_port, server_port;
};

// Opens a connection over loopback, exchanges a byte each way, and closes it.
template <class Address>
connection_ends connect_once(Address address, std::uint16_t Address::*port)
{
	auto *any = reinterpret_cast<sockaddr *>(&address);
	socklen_t size = sizeof address;
	const int domain = any->sa_family;
	const descriptor listener{socket(domain, SOCK_STREAM, IPPROTO_MPTCP)};
	EXPECT_EQ(bind(listener.get(), any, size), 0) << strerror(errno);
	EXPECT_EQ(listen(listener.get(), 1), 0);
	EXPECT_EQ(getsockname(listener.get(), any, &size), 0);
	descriptor client{socket(domain, SOCK_STREAM, IPPROTO_MPTCP)};
	EXPECT_EQ(connect(client.get(), any, size), 0) << strerror(errno);
	descriptor server{accept(listener.get(), nullptr, nullptr)};
	char byte = 1;
	EXPECT_EQ(write(client.get(), &byte, 1), 1);
	EXPECT_EQ(read(server.get(), &byte, 1), 1);
	EXPECT_EQ(write(server.get(), &byte, 1), 1);
	EXPECT_EQ(read(client.get(), &byte, 1), 1);
	connection_ends ends{token_of(client.get()), token_of(server.get()), 0, ntohs(address.*port)};
	EXPECT_EQ(getsockname(client.get(), any, &size), 0);
	ends.client_port = ntohs(address.*port);
	client = descriptor{};
	EXPECT_EQ(read(server.get(), &byte, 1), 0);
	server = descriptor{};
	return ends;
}

bool tells_of_listeners() { return pm::test::kernel_is_at_least(6, 2); }

// What the kernel should have said: listener up, three events from each side in order, listener gone.
void expect_whole_story(const std::vector<pm_event> &events, const connection_ends &ends, const pm_addr &address)
{
	std::map<std::uint32_t, std::vector<int>> types;
	for (const pm_event &event : events) {
		types[event.token].push_back(event.type);
		EXPECT_EQ(event.seq, 0u);
		EXPECT_EQ(event.time_ns, 0u);
		if (event.type != PM_CREATED && event.type != PM_ESTABLISHED)
			continue;
		const bool server = event.token == ends.server_token;
		EXPECT_EQ(event.flags, (server ? PM_SERVER_SIDE : 0) | (is_ipv4(address) ? PM_IPV4_SOCKET : 0));
		EXPECT_EQ(event.local_port, server ? ends.server_port : ends.client_port);
		EXPECT_EQ(event.remote_port, server ? ends.client_port : ends.server_port);
		EXPECT_TRUE(event.has_local && event.has_remote && same(event.local, address) &&
			    same(event.remote, address));
	}
	const std::vector<int> connection = {PM_CREATED, PM_ESTABLISHED, PM_CLOSED};
	EXPECT_EQ(types[ends.client_token], connection);
	EXPECT_EQ(types[ends.server_token], connection);
	if (tells_of_listeners()) {
		EXPECT_EQ(types[0], (std::vector<int>{PM_LISTENER_CREATED, PM_LISTENER_CLOSED}));
	}
	EXPECT_EQ(types.size(), tells_of_listeners() ? 3u : 2u);
}

TEST(drop_counter, survives_the_wrap_of_the_kernels_counter)
{
	drop_counter drops(0);
	EXPECT_EQ(drops.added(5), 5u);
	EXPECT_EQ(drops.added(5), 0u);
	EXPECT_EQ(drops.added(0xfffffff0u), 0xfffffff0u - 5u);
	EXPECT_EQ(drops.added(0x10), 0x20u);
}

TEST_F(event_source_live, hears_a_connection_from_both_sides)
{
	sockaddr_in four{};
	four.sin_family = AF_INET;
	four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sockaddr_in6 six{};
	six.sin6_family = AF_INET6;
	six.sin6_addr = in6addr_loopback;
	pm_addr loopback6{};
	loopback6.bytes[15] = 1;

	event_source source = open_source();
	EXPECT_GE(source.counters().buffer_bytes, 8u << 20);
	const unsigned story = tells_of_listeners() ? 8 : 6;
	const auto over_ipv4 = connect_once(four, &sockaddr_in::sin_port);
	expect_whole_story(wait_for(source, story), over_ipv4, ipv4(127, 0, 0, 1));
	const auto over_ipv6 = connect_once(six, &sockaddr_in6::sin6_port);
	expect_whole_story(wait_for(source, story), over_ipv6, loopback6);
	EXPECT_EQ(source.counters().delivered, 2 * story);
	EXPECT_EQ(sum(source.counters()), 2 * story);
}

TEST_F(event_source_live, takes_a_replay_only_when_asked_to)
{
	event_source wary = open_source(), open_minded = open_source({.buffer_bytes = 1u << 20, .accept_replay = true});
	const replayer sender(wary.family());
	for (std::uint32_t number = 1; number <= 200; ++number)
		sender.send(closed_event(wary.family().id, 1000 + number, number));

	EXPECT_TRUE(drain(wary).empty());
	EXPECT_EQ(wary.counters().foreign_sender, 200u);
	EXPECT_EQ(sum(wary.counters()), 200u);

	const auto events = drain(open_minded);
	ASSERT_EQ(events.size(), 200u);
	for (std::uint32_t number = 1; number <= 200; ++number) {
		EXPECT_EQ(events[number - 1].seq, number);
		EXPECT_EQ(events[number - 1].token, 1000 + number);
	}
	EXPECT_EQ(open_minded.counters().foreign_sender, 0u);
}

TEST_F(event_source_live, reads_no_more_than_it_was_asked_to)
{
	event_source source = open_source({.accept_replay = true});
	const replayer sender(source.family());
	for (std::uint32_t number = 1; number <= 300; ++number)
		sender.send(closed_event(source.family().id, number));
	std::size_t handled = 0;
	const auto count = [&](const pm_event &) { ++handled; };
	EXPECT_EQ(source.drain(count, 0).value(), 0u);
	EXPECT_EQ(source.drain(count, 100).value(), 100u);
	EXPECT_EQ(handled, 100u);
	EXPECT_EQ(source.drain(count).value(), 200u);
	EXPECT_EQ(source.drain(count).value(), 0u);
	EXPECT_EQ(handled, 300u);
}

TEST_F(event_source_live, knows_exactly_what_it_lost_and_goes_on_hearing)
{
	event_source source = open_source({.buffer_bytes = 50'000, .accept_replay = true});
	const replayer sender(source.family());
	std::uint64_t sent = 0;
	for (int round = 1; round <= 5; ++round) {
		const std::uint64_t lost_before = source.counters().lost;
		for (int number = 0; number < 2000 * round; ++number, ++sent)
			sender.send(closed_event(source.family().id, 1));
		const auto heard = drain(source);
		EXPECT_GT(heard.size(), 0u);
		EXPECT_GT(source.counters().lost, lost_before) << "the flood was too small for the buffer";
		EXPECT_EQ(sum(source.counters()), sent) << "round " << round;

		const std::uint64_t lost = source.counters().lost;
		for (int number = 0; number < 10; ++number, ++sent)
			sender.send(closed_event(source.family().id, 2));
		EXPECT_EQ(drain(source).size(), 10u) << "deaf after round " << round;
		EXPECT_EQ(source.counters().lost, lost);
	}
	EXPECT_EQ(source.counters().lost + source.counters().delivered, sent);
}

TEST_F(event_source_live, accepts_again_as_soon_as_there_is_room)
{
	event_source source = open_source({.buffer_bytes = 50'000, .accept_replay = true});
	const replayer sender(source.family());
	for (int number = 0; number < 2000; ++number)
		sender.send(closed_event(source.family().id, 1));
	ASSERT_EQ(source.drain([](const pm_event &) {}, 20).value(), 20u);
	const std::uint64_t lost = source.counters().lost;
	ASSERT_GT(lost, 0u);
	sender.send(closed_event(source.family().id, 2));
	EXPECT_EQ(source.counters().lost, lost) << "dropped although the socket had room";
	EXPECT_EQ(drain(source).back().token, 2u);
}

TEST_F(event_source_live, counts_malformed_messages_by_reason)
{
	event_source source = open_source({.accept_replay = true});
	const std::uint16_t family = source.family().id;
	const replayer sender(source.family());
	const auto whole = closed_event(family, 7);
	auto changed = [&](std::size_t at, int value) {
		auto copy = whole;
		copy[at] = static_cast<std::byte>(value);
		return copy;
	};
	struct {
		std::vector<std::byte> message;
		refusal why;
	} const cases[] = {
		{{whole.begin(), whole.begin() + 10}, refusal::truncated},
		{{whole.begin(), whole.end() - 4}, refusal::truncated},
		{changed(0, 18), refusal::truncated},                             // nlmsg_len within the genl header
		{changed(20, 200), refusal::truncated},                           // nla_len beyond the message
		{std::vector<std::byte>(5000, std::byte{0xff}), refusal::truncated}, // longer than a slot
		{changed(4, family + 1), refusal::foreign},
		{changed(16, 99), refusal::unknown_type},
		{changed(20, 5), refusal::bad_attribute},                         // nla_len of the token
		{changed(22, MPTCP_ATTR_TIMEOUT), refusal::missing_attribute},    // the token under another number
	};
	std::array<std::uint64_t, refusal_count> expected{};
	for (const auto &each : cases) {
		sender.send(each.message);
		++expected[static_cast<std::size_t>(each.why)];
		EXPECT_TRUE(drain(source).empty());
		EXPECT_EQ(source.counters().refused, expected) << "a message that is " << to_string(each.why);
	}
	EXPECT_EQ(sum(source.counters()), std::size(cases));
	sender.send(whole);
	EXPECT_EQ(drain(source).size(), 1u);
}

TEST_F(event_source_live, takes_several_messages_from_one_datagram)
{
	event_source source = open_source({.accept_replay = true});
	const std::uint16_t family = source.family().id;
	std::vector<std::byte> datagram;
	auto append = [&](std::vector<std::byte> message) {
		datagram.insert(datagram.end(), message.begin(), message.end());
	};
	append(closed_event(family, 1));
	append(closed_event(static_cast<std::uint16_t>(family + 1), 2));
	append(closed_event(family, 3));
	datagram.resize(datagram.size() + 8); // what is left over is no message, and counted
	replayer(source.family()).send(datagram);
	const auto events = drain(source);
	ASSERT_EQ(events.size(), 2u);
	EXPECT_EQ(events[1].token, 3u);
	EXPECT_EQ(source.counters().refused[static_cast<std::size_t>(refusal::foreign)], 1u);
	EXPECT_EQ(source.counters().refused[static_cast<std::size_t>(refusal::truncated)], 1u);
}

TEST_F(event_source_live, is_told_of_the_family_by_the_kernel)
{
	const auto family = ask_family();
	ASSERT_TRUE(family) << family.error().text;
	EXPECT_GT(family->id, GENL_ID_CTRL);
	EXPECT_GT(family->events_group, 0u);
	const auto again = decode_family(family->description);
	ASSERT_TRUE(again);
	EXPECT_EQ(again->id, family->id);
	EXPECT_EQ(again->events_group, family->events_group);
}

} // namespace
