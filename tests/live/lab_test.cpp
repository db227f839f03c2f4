// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The laboratory and the load, on the real kernel, as root: that what was asked for is there, that nothing is left
// behind, and that failures are counted. What the kernel reports of the load is in record_test.cpp.
#include "replay/load.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <future>
#include <gtest/gtest.h>
#include <limits>
#include <net/if.h>
#include <netinet/in.h>
#include <set>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pm-core/address.hpp"
#include "tests/support/output_of.hpp"

using namespace pm;
using namespace pm::replay;
using pm::test::output_of;

namespace {

std::ptrdiff_t entries(const char *directory)
{
	namespace fs = std::filesystem;
	return std::distance(fs::directory_iterator(directory), fs::directory_iterator{});
}

// All that a laboratory could leave behind: links and namespaces that anybody sees, this process's files and threads.
// Namespaces that tests beside this one use are left out.
struct footprint {
	std::string links = output_of("ip -o link show | cut -d: -f2");
	std::string namespaces = output_of("ip netns list | grep -v pathlab-test");
	std::ptrdiff_t files = entries("/proc/self/fd"), threads = entries("/proc/self/task");
	bool operator==(const footprint &) const = default;
};

expected<void> take_down(const netns &where, const char *link)
{
	return in_namespace(where, [&]() -> expected<void> {
		descriptor s(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
		ifreq request{};
		std::strncpy(request.ifr_name, link, sizeof request.ifr_name - 1);
		if (!s || ::ioctl(s.get(), SIOCSIFFLAGS, &request) != 0)
			return fail_errno("cannot take a link down");
		return {};
	});
}

void expect_complete(const load_report &report, std::uint64_t asked)
{
	EXPECT_EQ(report.asked, asked);
	EXPECT_EQ(report.made, asked) << report.first_failure;
	EXPECT_EQ(report.failed, 0u) << report.first_failure;
	EXPECT_EQ(report.left_open, 0u);
	EXPECT_EQ(report.connections.size(), asked);
}

} // namespace

TEST(lab, has_an_address_of_each_family_on_each_path)
{
	EXPECT_TRUE(same(lab::client_address(0, false), ipv4(10, 0, 1, 1)));
	EXPECT_TRUE(same(lab::server_address(1, false), ipv4(10, 0, 2, 2)));
	const pm_addr a = lab::server_address(7, true);
	EXPECT_FALSE(is_ipv4(a));
	EXPECT_EQ(a.bytes[0], 0xfd);
	EXPECT_EQ(a.bytes[3], 8);
	EXPECT_EQ(a.bytes[15], 2);
}

TEST(lab, vanishes_without_a_trace)
{
	const footprint before;
	{
		const auto l = lab::create({.paths = 3});
		ASSERT_TRUE(l) << l.error().text;
		const auto report = run_load(*l, {.connections = 20, .hold_ms = 5});
		ASSERT_TRUE(report) << report.error().text;
	}
	EXPECT_EQ(footprint(), before);
}

TEST(lab, leaves_nothing_behind_wherever_its_creation_fails)
{
	const footprint before;
	rlimit limit{};
	ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
	unsigned failures = 0;
	// Fewer and fewer steps fail for want of file descriptors, until none does.
	for (rlim_t files = 1; files < limit.rlim_max; ++files) {
		const rlimit tight{files, limit.rlim_max};
		::setrlimit(RLIMIT_NOFILE, &tight);
		const bool created = lab::create({}).has_value();
		::setrlimit(RLIMIT_NOFILE, &limit);
		ASSERT_EQ(footprint(), before) << "with " << files << " files";
		if (created)
			break;
		++failures;
	}
	EXPECT_GE(failures, 3u);
}

TEST(lab, refuses_a_number_of_paths_that_it_cannot_build)
{
	for (const unsigned paths : {0u, 9u, ~0u})
		EXPECT_FALSE(lab::create({.paths = paths})) << paths;
}

TEST(lab, builds_every_number_of_paths_without_endpoints)
{
	for (unsigned paths = 1; paths <= 8; ++paths) {
		const auto l = lab::create({.paths = paths, .endpoints = false});
		EXPECT_TRUE(l) << paths << ": " << l.error().text;
	}
}

TEST(load, makes_every_connection_of_both_families)
{
	const auto l = lab::create({});
	ASSERT_TRUE(l) << l.error().text;
	const auto report = run_load(*l, {.connections = 500});
	ASSERT_TRUE(report) << report.error().text;
	expect_complete(*report, 500);
	std::set<std::uint32_t> tokens;
	unsigned ipv4_connections = 0;
	for (std::size_t i = 0; i < report->connections.size(); ++i) {
		const made_connection &c = report->connections[i];
		const bool ipv6 = i % 2 == 1;
		EXPECT_TRUE(same(c.local, lab::client_address(0, ipv6)));
		EXPECT_TRUE(same(c.remote, lab::server_address(0, ipv6)));
		EXPECT_EQ(c.remote_port, load_port);
		EXPECT_NE(c.local_port, 0);
		EXPECT_NE(c.token, 0u);
		EXPECT_NE(c.server_token, 0u);
		tokens.insert(c.token);
		ipv4_connections += is_ipv4(c.local);
	}
	EXPECT_EQ(tokens.size(), 500u);
	EXPECT_EQ(ipv4_connections, 250u);
}

// What the kernel does with a second connection from the port of a first one, to the same address and port: 0, or the errno.
int connect_from_the_port_of_another(bool other_is_bound, bool is_bound)
{
	const auto socket_on = [](const sockaddr_in &address, bool to_lo) {
		descriptor made(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
		const int on = 1;
		EXPECT_EQ(::setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
		if (to_lo) {
			EXPECT_EQ(::setsockopt(made.get(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 2), 0);
		}
		EXPECT_EQ(::bind(made.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address), 0);
		return made;
	};
	const auto own_address = [](const descriptor &of) {
		sockaddr_in own{};
		socklen_t length = sizeof own;
		EXPECT_EQ(::getsockname(of.get(), reinterpret_cast<sockaddr *>(&own), &length), 0);
		return own;
	};
	const auto connect_to = [](const descriptor &from, const sockaddr_in &to) {
		return ::connect(from.get(), reinterpret_cast<const sockaddr *>(&to), sizeof to) == 0 ? 0 : errno;
	};
	sockaddr_in any_port{};
	any_port.sin_family = AF_INET;
	any_port.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	const descriptor listener = socket_on(any_port, false), other = socket_on(any_port, other_is_bound);
	EXPECT_EQ(::listen(listener.get(), 5), 0);
	EXPECT_EQ(connect_to(other, own_address(listener)), EINPROGRESS);
	return connect_to(socket_on(own_address(other), is_bound), own_address(listener));
}

// See docs/kernel-notes.md: it is why subflows, which are bound to an interface, must not share ports with initial ones.
TEST(load, has_to_do_with_a_kernel_that_uses_a_4_tuple_twice_if_the_first_is_bound_to_an_interface)
{
	EXPECT_EQ(connect_from_the_port_of_another(true, false), EINPROGRESS);
	EXPECT_EQ(connect_from_the_port_of_another(false, false), EADDRNOTAVAIL);
	EXPECT_EQ(connect_from_the_port_of_another(false, true), EADDRNOTAVAIL);
	EXPECT_EQ(connect_from_the_port_of_another(true, true), EADDRNOTAVAIL);
}

TEST(load, gives_each_family_ports_of_its_own)
{
	const auto l = lab::create({});
	ASSERT_TRUE(l) << l.error().text;
	const auto report = run_load(*l, {.connections = 200});
	ASSERT_TRUE(report) << report.error().text;
	std::uint16_t highest_of_ipv4 = 0, lowest_of_ipv6 = 65535;
	for (const made_connection &c : report->connections)
		if (is_ipv4(c.local))
			highest_of_ipv4 = std::max(highest_of_ipv4, c.local_port);
		else
			lowest_of_ipv6 = std::min(lowest_of_ipv6, c.local_port);
	EXPECT_LT(highest_of_ipv4, lowest_of_ipv6);
}

TEST(load, makes_connections_of_one_family_if_so_asked)
{
	const auto l = lab::create({});
	ASSERT_TRUE(l) << l.error().text;
	for (const bool ipv6 : {false, true}) {
		const auto report = run_load(*l, {.connections = 40, .ipv4 = !ipv6, .ipv6 = ipv6, .hold_ms = 0});
		ASSERT_TRUE(report) << report.error().text;
		expect_complete(*report, 40);
		for (const made_connection &c : report->connections)
			EXPECT_EQ(is_ipv4(c.local), !ipv6);
	}
}

TEST(load, gets_further_subflows_and_announcements_with_two_paths)
{
	const auto l = lab::create({.paths = 2});
	ASSERT_TRUE(l) << l.error().text;
	const auto report = run_load(*l, {.connections = 20, .rate = 100, .hold_ms = 200});
	ASSERT_TRUE(report) << report.error().text;
	for (const made_connection &c : report->connections) {
		EXPECT_GE(c.subflows, 1);
		EXPECT_EQ(c.announced, 2); // the server's address on path 1 in both families, whatever the connection's
	}
}

TEST(load, gets_no_further_subflow_without_endpoints)
{
	const auto l = lab::create({.paths = 2, .endpoints = false});
	ASSERT_TRUE(l) << l.error().text;
	const auto report = run_load(*l, {.connections = 20});
	ASSERT_TRUE(report) << report.error().text;
	expect_complete(*report, 20);
	for (const made_connection &c : report->connections) {
		EXPECT_EQ(c.subflows, 0);
		EXPECT_EQ(c.announced, 0);
	}
}

TEST(load, makes_thousands_that_come_and_go_at_once)
{
	const auto l = lab::create({});
	ASSERT_TRUE(l) << l.error().text;
	const auto report = run_load(*l, {.connections = 5000, .rate = 1e6, .hold_ms = 0, .patience_ms = 30000});
	ASSERT_TRUE(report) << report.error().text;
	expect_complete(*report, 5000);
}

// A child has a copy of every socket until it executes its program: what this process closes meanwhile is still open.
TEST(load, is_not_confused_by_children_that_are_being_started)
{
	const auto l = lab::create({});
	ASSERT_TRUE(l) << l.error().text;
	std::atomic<bool> enough = false;
	const auto starting = std::async(std::launch::async, [&] {
		while (!enough) {
			const pid_t child = ::fork();
			ASSERT_NE(child, -1);
			if (child == 0) {
				::usleep(100'000);
				::_exit(0);
			}
			::usleep(20'000);
			::waitpid(child, nullptr, 0);
		}
	});
	const auto report = run_load(*l, {.connections = 1000, .rate = 1000, .hold_ms = 10, .patience_ms = 3000});
	enough = true;
	ASSERT_TRUE(report) << report.error().text;
	expect_complete(*report, 1000);
}

TEST(load, goes_through_two_laboratories_at_once)
{
	const auto one = [](std::uint64_t connections) -> expected<load_report> {
		const auto l = lab::create({});
		return l ? run_load(*l, {.connections = connections}) : tl::unexpected(l.error());
	};
	auto a = std::async(std::launch::async, one, 300), b = std::async(std::launch::async, one, 400);
	const auto first = a.get(), second = b.get();
	ASSERT_TRUE(first) << first.error().text;
	ASSERT_TRUE(second) << second.error().text;
	expect_complete(*first, 300);
	expect_complete(*second, 400);
}

TEST(load, counts_every_connection_to_a_server_that_cannot_be_reached_and_returns)
{
	const auto l = lab::create({});
	ASSERT_TRUE(l) << l.error().text;
	ASSERT_TRUE(take_down(l->server, "p0"));
	const auto report = run_load(*l, {.connections = 30, .patience_ms = 300});
	ASSERT_TRUE(report) << report.error().text;
	EXPECT_EQ(report->asked, 30u);
	EXPECT_EQ(report->made, 0u);
	EXPECT_EQ(report->failed, 30u);
	EXPECT_TRUE(report->connections.empty());
	EXPECT_FALSE(report->first_failure.empty());
}

TEST(load, says_which_port_it_cannot_listen_on)
{
	const auto l = lab::create({});
	ASSERT_TRUE(l) << l.error().text;
	const auto plain = in_namespace(l->server, []() -> expected<descriptor> {
		descriptor s(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
		const auto any = to_sockaddr(pm_addr{}, load_port);
		if (!s || ::bind(s.get(), any.get(), any.length) != 0 || ::listen(s.get(), 1) != 0)
			return fail_errno("cannot listen");
		return s;
	});
	ASSERT_TRUE(plain) << plain.error().text;
	const auto taken = run_load(*l, {.connections = 1});
	ASSERT_FALSE(taken);
	EXPECT_NE(taken.error().text.find("port 1000"), std::string::npos) << taken.error().text;
}

TEST(load, counts_what_the_limit_of_open_files_does_not_allow)
{
	const auto limited = [] {
		const auto l = lab::create({.endpoints = false});
		const rlimit few{300, 300};
		if (!l || ::setrlimit(RLIMIT_NOFILE, &few) != 0)
			::_exit(2);
		const auto report = run_load(*l, {.connections = 1000, .rate = 1e6, .hold_ms = 500});
		const bool good = report && report->failed > 0 && report->made > 0 &&
				  report->made + report->failed == 1000 &&
				  report->first_failure.find("RLIMIT_NOFILE") != std::string::npos;
		::_exit(good ? 0 : 1);
	};
	EXPECT_EXIT(limited(), testing::ExitedWithCode(0), "");
}

TEST(load, refuses_what_makes_no_sense)
{
	const auto l = lab::create({.paths = 1});
	ASSERT_TRUE(l) << l.error().text;
	const load_options senseless[] = {
		{.connections = 0},
		{.connections = UINT64_MAX},
		{.rate = 0},
		{.rate = -1},
		{.rate = std::numeric_limits<double>::quiet_NaN()},
		{.rate = std::numeric_limits<double>::infinity()},
		{.rate = 1e-300},
		{.ipv4 = false, .ipv6 = false},
	};
	for (const load_options &options : senseless) {
		const auto report = run_load(*l, options);
		ASSERT_FALSE(report) << options.connections << " at " << options.rate;
		EXPECT_NE(report.error().text.find("ask for"), std::string::npos) << report.error().text;
	}
}
