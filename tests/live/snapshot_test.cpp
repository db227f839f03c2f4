// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What is listed as open, against real connections in namespaces: both families, both ends, subflows in every state that
// counts; and ten thousand connections at once.
#include "pm-netlink/mptcp_info.hpp"
#include "pm-netlink/snapshot.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pm-core/address.hpp"
#include "pm-netlink/family.hpp"
#include "pm-netlink/wire.hpp"
#include "replay/lab.hpp"
#include "replay/links.hpp"
#include "replay/load.hpp"
#include "tests/support/must.hpp"

namespace {

using namespace pm;
using namespace pm::netlink;
using namespace pm::replay;
using pm::test::must;
using namespace std::chrono_literals;

constexpr std::uint16_t port = 1001, tcp_port = 1002; // beside load_port

class snapshot_reader_live : public testing::Test {
protected:
	// Paths without endpoints, the client in the hands of a userspace path manager: subflows are what a test opens.
	lab l = must(lab::create({.paths = 2, .endpoints = false}));
	snapshot_reader client_reader = must(in_namespace(l.client, [] { return snapshot_reader::open(); }));
	snapshot_reader server_reader = must(in_namespace(l.server, [] { return snapshot_reader::open(); }));
	descriptor listener = listen(IPPROTO_MPTCP, port);
	nl_socket commands = must(in_namespace(l.client, [] { return connect_netlink(NETLINK_GENERIC); }));
	netlink::family family = must(ask_family());

	void SetUp() override { must(l.client.set_sysctl("net.mptcp.pm_type", "1")); }

	static descriptor open_socket(const netns &where, int domain, int protocol)
	{
		return must(in_namespace(where, [&]() -> expected<descriptor> {
			descriptor s(::socket(domain, SOCK_STREAM | SOCK_CLOEXEC, protocol));
			return s ? expected<descriptor>(std::move(s)) : fail_errno("socket");
		}));
	}
	descriptor listen(int protocol, std::uint16_t at) const
	{
		auto s = open_socket(l.server, AF_INET6, protocol);
		const auto any = to_sockaddr(pm_addr{}, at);
		if (::bind(s.get(), any.get(), any.length) != 0 || ::listen(s.get(), 100) != 0)
			throw std::runtime_error("cannot listen");
		return s;
	}

	struct connection {
		descriptor client, server;
		std::uint32_t token = 0, server_token = 0;
	};
	static std::uint32_t token_of(const descriptor &socket)
	{
		const auto info = read_mptcp_info(socket.get());
		return info ? info->mptcpi_token : 0;
	}
	// When it returns, subflows may join it.
	connection connect(const descriptor &to, descriptor from, bool ipv6, std::uint16_t at = port) const
	{
		connection c{std::move(from), {}};
		const auto address = to_sockaddr(lab::server_address(0, ipv6), at);
		char byte = 0;
		if (::connect(c.client.get(), address.get(), address.length) != 0)
			throw std::runtime_error("cannot connect");
		c.server = descriptor(::accept4(to.get(), nullptr, nullptr, SOCK_CLOEXEC));
		if (!c.server || ::write(c.client.get(), "", 1) != 1 || ::read(c.server.get(), &byte, 1) != 1 ||
		    ::write(c.server.get(), "", 1) != 1 || ::read(c.client.get(), &byte, 1) != 1)
			throw std::runtime_error("cannot talk");
		c.token = token_of(c.client);
		c.server_token = token_of(c.server);
		return c;
	}
	connection connect(bool ipv6) const
	{
		return connect(listener, open_socket(l.client, ipv6 ? AF_INET6 : AF_INET, IPPROTO_MPTCP), ipv6);
	}

	// Yields the kernel's answer: 0 or an errno.
	int command(const pm_command &what)
	{
		std::array<std::byte, max_message> message;
		const std::size_t size = encode_command(what, family.id, ++seq_, message);
		EXPECT_GT(size, 0u);
		const int fd = nl_socket_get_fd(commands.get());
		EXPECT_EQ(::send(fd, message.data(), size, 0), static_cast<ssize_t>(size));
		std::array<std::byte, 1024> answer;
		EXPECT_GE(::recv(fd, answer.data(), answer.size(), 0), 20);
		EXPECT_EQ(wire::load<nlmsghdr>(answer.data()).nlmsg_type, NLMSG_ERROR);
		return -wire::load<int>(answer.data() + NLMSG_HDRLEN);
	}
	static pm_command join(std::uint32_t token, const pm_addr &local, const pm_addr &remote, pm_u8 flags = 0)
	{
		pm_command c{};
		c.token = token;
		c.type = PM_OPEN_SUBFLOW;
		c.flags = flags;
		c.local_id = 7;
		c.remote_port = port;
		c.local = local;
		c.remote = remote;
		return c;
	}

	static snapshot finish(snapshot_reader &reader)
	{
		for (;;) {
			pollfd waiting{reader.fd(), POLLIN, 0};
			if (::poll(&waiting, 1, 5000) != 1)
				throw std::runtime_error("the answer stopped before its end");
			if (must(reader.proceed()))
				return reader.take();
		}
	}
	static snapshot list(snapshot_reader &reader)
	{
		must(reader.begin());
		return finish(reader);
	}
	// As soon as it is so; as it is after 10 s.
	template <class Condition>
	static snapshot list_until(snapshot_reader &reader, Condition &&condition)
	{
		const auto end = std::chrono::steady_clock::now() + 10s;
		for (;;) {
			snapshot s = list(reader);
			if (condition(s) || std::chrono::steady_clock::now() > end)
				return s;
			std::this_thread::sleep_for(5ms);
		}
	}
	static auto with_subflows(std::size_t n)
	{
		return [=](const snapshot &s) {
			return std::count_if(s.subflows.begin(), s.subflows.end(), [](const snapshot_subflow &each) {
				       return !each.opening;
			       }) >= static_cast<std::ptrdiff_t>(n);
		};
	}
	// What concerns one connection: others may not have been closed to their end yet.
	static snapshot only(snapshot s, std::uint32_t token)
	{
		std::erase_if(s.connections, [=](const snapshot_connection &each) { return each.token != token; });
		std::erase_if(s.subflows, [=](const snapshot_subflow &each) { return each.token != token; });
		return s;
	}
	snapshot joined_at_client(const connection &c)
	{
		return only(list_until(client_reader,
				       [&](const snapshot &s) { return with_subflows(2)(only(s, c.token)); }),
			    c.token);
	}
	snapshot joined_at_server(const connection &c)
	{
		return only(list_until(server_reader,
				       [&](const snapshot &s) { return with_subflows(2)(only(s, c.server_token)); }),
			    c.server_token);
	}
	static const snapshot_subflow &joined(const snapshot &s)
	{
		for (const snapshot_subflow &subflow : s.subflows)
			if (!subflow.initial)
				return subflow;
		throw std::runtime_error("no subflow has joined");
	}

private:
	std::uint32_t seq_ = 0;
};

std::vector<std::uint32_t> tokens(const snapshot &s)
{
	std::vector<std::uint32_t> all;
	for (const snapshot_connection &c : s.connections)
		all.push_back(c.token);
	return all;
}
using token_list = std::vector<std::uint32_t>;

TEST_F(snapshot_reader_live, lists_nothing_where_nothing_is_open)
{
	for (snapshot_reader *reader : {&client_reader, &server_reader}) {
		const snapshot s = list(*reader);
		EXPECT_TRUE(s.connections.empty());
		EXPECT_TRUE(s.subflows.empty());
	}
}

TEST_F(snapshot_reader_live, lists_both_ends_of_a_connection_of_each_family)
{
	for (const bool ipv6 : {false, true}) {
		const connection c = connect(ipv6);
		const snapshot here = only(list(client_reader), c.token);
		const snapshot there = only(list(server_reader), c.server_token);
		ASSERT_EQ(tokens(here), token_list{c.token});
		ASSERT_EQ(tokens(there), token_list{c.server_token});
		ASSERT_EQ(here.subflows.size(), 1u);
		ASSERT_EQ(there.subflows.size(), 1u);
		const auto expect_client_end = [&](const auto &end, std::uint32_t token) {
			EXPECT_EQ(end.token, token);
			EXPECT_TRUE(same(end.local, lab::client_address(0, ipv6)));
			EXPECT_TRUE(same(end.remote, lab::server_address(0, ipv6)));
			EXPECT_EQ(end.remote_port, port);
			EXPECT_NE(end.local_port, 0);
		};
		const auto expect_server_end = [&](const auto &end, std::uint32_t token) {
			EXPECT_EQ(end.token, token);
			EXPECT_TRUE(same(end.remote, lab::client_address(0, ipv6)));
			EXPECT_TRUE(same(end.local, lab::server_address(0, ipv6)));
			EXPECT_EQ(end.local_port, port);
			EXPECT_EQ(end.remote_port, here.connections[0].local_port);
		};
		expect_client_end(here.connections[0], c.token);
		expect_client_end(here.subflows[0], c.token);
		expect_server_end(there.connections[0], c.server_token);
		expect_server_end(there.subflows[0], c.server_token);
	}
}

TEST_F(snapshot_reader_live, lists_an_ipv4_connection_of_an_ipv6_socket_as_ipv4)
{
	auto socket = open_socket(l.client, AF_INET6, IPPROTO_MPTCP);
	sockaddr_in6 mapped{};
	mapped.sin6_family = AF_INET6;
	mapped.sin6_port = htons(port);
	const pm_addr address = lab::server_address(0, false);
	std::copy_n(address.bytes, 16, mapped.sin6_addr.s6_addr);
	ASSERT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr *>(&mapped), sizeof mapped), 0);
	const snapshot s = list(client_reader);
	ASSERT_EQ(tokens(s), token_list{token_of(socket)});
	ASSERT_EQ(s.subflows.size(), 1u);
	EXPECT_TRUE(same(s.connections[0].local, lab::client_address(0, false)));
	EXPECT_TRUE(same(s.connections[0].remote, address));
	EXPECT_TRUE(same(s.subflows[0].local, lab::client_address(0, false)));
	EXPECT_TRUE(same(s.subflows[0].remote, address));
}

TEST_F(snapshot_reader_live, tells_at_either_end_who_opened_the_initial_subflow)
{
	const connection c = connect(false);
	const snapshot here = list(client_reader), there = list(server_reader);
	ASSERT_EQ(here.subflows.size(), 1u);
	ASSERT_EQ(there.subflows.size(), 1u);
	EXPECT_TRUE(here.subflows[0].initial);
	EXPECT_TRUE(here.subflows[0].opened_here);
	EXPECT_TRUE(there.subflows[0].initial);
	EXPECT_FALSE(there.subflows[0].opened_here);
	for (const snapshot_subflow &subflow : {here.subflows[0], there.subflows[0]}) {
		EXPECT_FALSE(subflow.opening || subflow.backup || subflow.asked_backup);
		EXPECT_EQ(subflow.local_id, 0);
		EXPECT_EQ(subflow.remote_id, 0);
		EXPECT_EQ(subflow.ifindex, 0u);
	}
}

TEST_F(snapshot_reader_live, tells_at_either_end_the_ids_of_a_join_and_who_asked_for_a_backup)
{
	for (const bool ipv6 : {false, true})
		for (const pm_u8 flags : {pm_u8{0}, pm_u8{PM_BACKUP}}) {
			const connection c = connect(ipv6);
			ASSERT_EQ(command(join(c.token, lab::client_address(1, ipv6), lab::server_address(0, ipv6),
					       flags)),
				  0);
			const snapshot here = joined_at_client(c);
			const snapshot there = joined_at_server(c);
			ASSERT_EQ(here.subflows.size(), 2u);
			ASSERT_EQ(there.subflows.size(), 2u);
			const snapshot_subflow &ours = joined(here), &theirs = joined(there);
			EXPECT_EQ(ours.token, c.token);
			EXPECT_EQ(theirs.token, c.server_token);
			EXPECT_TRUE(ours.opened_here);
			EXPECT_FALSE(theirs.opened_here);
			EXPECT_TRUE(same(ours.local, lab::client_address(1, ipv6)));
			EXPECT_TRUE(same(theirs.remote, ours.local));
			EXPECT_TRUE(same(theirs.local, ours.remote));
			EXPECT_EQ(theirs.remote_port, ours.local_port);
			EXPECT_EQ(ours.remote_port, port);
			EXPECT_EQ(ours.local_id, 7);
			EXPECT_EQ(ours.remote_id, 0);
			EXPECT_EQ(theirs.local_id, 0);
			EXPECT_EQ(theirs.remote_id, 7);
			EXPECT_EQ(ours.asked_backup, flags == PM_BACKUP);
			EXPECT_EQ(theirs.backup, flags == PM_BACKUP);
			EXPECT_FALSE(ours.backup || theirs.asked_backup || ours.opening || theirs.opening);
		}
}

TEST_F(snapshot_reader_live, tells_of_a_backup_that_was_asked_for_later)
{
	const connection c = connect(false);
	snapshot here = list(client_reader);
	ASSERT_EQ(here.subflows.size(), 1u);
	pm_command change{};
	change.token = c.token;
	change.type = PM_SET_BACKUP;
	change.flags = PM_BACKUP;
	change.local = here.subflows[0].local;
	change.remote = here.subflows[0].remote;
	change.local_port = here.subflows[0].local_port;
	change.remote_port = here.subflows[0].remote_port;
	ASSERT_EQ(command(change), 0);
	here = list(client_reader);
	ASSERT_EQ(here.subflows.size(), 1u);
	EXPECT_TRUE(here.subflows[0].asked_backup);
	const snapshot there = list_until(server_reader, [](const snapshot &s) { return s.subflows[0].backup; });
	EXPECT_TRUE(there.subflows[0].backup);
}

// The kernel's own path managers announce and join here.
TEST_F(snapshot_reader_live, tells_at_both_ends_the_same_of_subflows_to_addresses_that_were_announced)
{
	l = must(lab::create({.paths = 2, .endpoints = true}));
	client_reader = must(in_namespace(l.client, [] { return snapshot_reader::open(); }));
	server_reader = must(in_namespace(l.server, [] { return snapshot_reader::open(); }));
	listener = listen(IPPROTO_MPTCP, port);
	const connection c = connect(false);
	const auto to_announced = [](const snapshot &s) {
		return std::any_of(s.subflows.begin(), s.subflows.end(), [](const snapshot_subflow &subflow) {
			return same(subflow.remote, lab::server_address(1, false)) && !subflow.opening;
		});
	};
	const snapshot here = list_until(client_reader, to_announced);
	ASSERT_TRUE(to_announced(here));
	for (const snapshot_subflow &ours : here.subflows) {
		const auto mirrored = [&](const snapshot_subflow &theirs) {
			return theirs.remote_port == ours.local_port && same(theirs.remote, ours.local);
		};
		const snapshot there = list_until(server_reader, [&](const snapshot &s) {
			return ours.opening || std::any_of(s.subflows.begin(), s.subflows.end(), mirrored);
		});
		const auto theirs = std::find_if(there.subflows.begin(), there.subflows.end(), mirrored);
		if (ours.opening)
			continue;
		ASSERT_NE(theirs, there.subflows.end());
		EXPECT_EQ(theirs->token, c.server_token);
		EXPECT_TRUE(same(theirs->local, ours.remote));
		EXPECT_EQ(theirs->local_port, ours.remote_port);
		EXPECT_EQ(theirs->local_id, ours.remote_id);
		EXPECT_EQ(theirs->remote_id, ours.local_id);
		EXPECT_EQ(theirs->initial, ours.initial);
		EXPECT_NE(theirs->opened_here, ours.opened_here);
		EXPECT_EQ(ours.remote_id != 0, same(ours.remote, lab::server_address(1, false)));
	}
}

TEST_F(snapshot_reader_live, tells_a_join_that_is_not_answered_yet)
{
	// The server has no way back to it.
	const pm_addr nowhere = ipv4(172, 16, 0, 1);
	must(in_namespace(l.client, [&]() -> expected<void> {
		auto here = links::open();
		return here ? here->add_address("p1", nowhere, links::prefix::host) : tl::unexpected(here.error());
	}));
	const connection c = connect(false);
	ASSERT_EQ(command(join(c.token, nowhere, lab::server_address(0, false), PM_BACKUP)), 0);
	const snapshot here = list(client_reader);
	ASSERT_EQ(tokens(here), token_list{c.token});
	ASSERT_EQ(here.subflows.size(), 2u);
	const snapshot_subflow &subflow = joined(here);
	EXPECT_TRUE(subflow.opening);
	EXPECT_TRUE(subflow.opened_here);
	EXPECT_TRUE(subflow.asked_backup);
	EXPECT_FALSE(subflow.backup);
	EXPECT_EQ(subflow.token, c.token);
	EXPECT_EQ(subflow.local_id, 7);
	EXPECT_EQ(subflow.remote_id, 0);
	EXPECT_TRUE(same(subflow.local, nowhere));
	EXPECT_EQ(subflow.remote_port, port);
	EXPECT_NE(subflow.local_port, 0);
	EXPECT_EQ(list(server_reader).subflows.size(), 1u);
}

TEST_F(snapshot_reader_live, leaves_out_what_this_side_has_closed_and_lists_what_the_peer_has)
{
	connection closed = connect(false), half = connect(true), both = connect(false);
	closed.client = {};
	ASSERT_EQ(::shutdown(half.client.get(), SHUT_WR), 0);
	both.client = {};
	both.server = {};
	EXPECT_TRUE(list(client_reader).connections.empty());
	token_list open_there = {closed.server_token, half.server_token};
	std::sort(open_there.begin(), open_there.end());
	const auto there = list_until(server_reader, [&](const snapshot &s) { return tokens(s) == open_there; });
	EXPECT_EQ(tokens(there), open_there);
}

TEST_F(snapshot_reader_live, lists_a_connection_that_the_server_has_not_accepted_yet)
{
	auto socket = open_socket(l.client, AF_INET, IPPROTO_MPTCP);
	const auto to = to_sockaddr(lab::server_address(0, false), port);
	ASSERT_EQ(::connect(socket.get(), to.get(), to.length), 0);
	const auto there = list_until(server_reader, [](const snapshot &s) { return !s.connections.empty(); });
	ASSERT_EQ(there.connections.size(), 1u);
	ASSERT_EQ(there.subflows.size(), 1u);
	EXPECT_EQ(there.subflows[0].token, there.connections[0].token);
}

TEST_F(snapshot_reader_live, leaves_out_plain_tcp_and_what_fell_back_to_it)
{
	const auto plain = listen(IPPROTO_TCP, tcp_port);
	const connection tcp = connect(plain, open_socket(l.client, AF_INET, IPPROTO_TCP), false, tcp_port);
	const connection by_server = connect(plain, open_socket(l.client, AF_INET, IPPROTO_MPTCP), false, tcp_port);
	const connection by_client = connect(listener, open_socket(l.client, AF_INET6, IPPROTO_TCP), true);
	for (snapshot_reader *reader : {&client_reader, &server_reader}) {
		const snapshot s = list(*reader);
		EXPECT_TRUE(s.connections.empty());
		EXPECT_TRUE(s.subflows.empty());
	}
}

TEST_F(snapshot_reader_live, ignores_what_is_not_from_the_kernel)
{
	const connection c = connect(false);
	sockaddr_nl to{};
	socklen_t size = sizeof to;
	ASSERT_EQ(::getsockname(client_reader.fd(), reinterpret_cast<sockaddr *>(&to), &size), 0);
	const auto forger = must(in_namespace(l.client, [] { return connect_netlink(NETLINK_SOCK_DIAG); }));
	must(client_reader.begin());
	for (std::uint32_t seq = 0; seq < 8; ++seq) {
		struct {
			nlmsghdr header;
			int error;
		} end{{sizeof end, NLMSG_DONE, 0, seq, to.nl_pid}, 0};
		ASSERT_EQ(::sendto(nl_socket_get_fd(forger.get()), &end, sizeof end, 0,
				   reinterpret_cast<const sockaddr *>(&to), sizeof to),
			  static_cast<ssize_t>(sizeof end));
	}
	const snapshot s = finish(client_reader);
	EXPECT_EQ(tokens(s), token_list{c.token});
	EXPECT_EQ(s.subflows.size(), 1u);
}

TEST_F(snapshot_reader_live, says_that_it_lacks_the_right)
{
	const connection c = connect(false);
	std::string said;
	must(in_namespace(l.client, [&]() -> expected<void> {
		// Of this thread only.
		__user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
		std::array<__user_cap_data_struct, 2> none{};
		if (::syscall(SYS_capset, &header, none.data()) != 0)
			return fail_errno("capset");
		auto reader = snapshot_reader::open();
		if (!reader)
			return tl::unexpected(reader.error());
		if (auto begun = reader->begin(); !begun)
			return begun;
		for (;;) {
			const auto done = reader->proceed();
			if (!done)
				said = done.error().text;
			if (!done || *done)
				return {};
		}
	}));
	EXPECT_EQ(said,
		  "listing the open MPTCP connections: root, or CAP_NET_ADMIN in the network namespace, is needed");
}

TEST_F(snapshot_reader_live, says_nothing_is_complete_before_it_was_asked)
{
	EXPECT_FALSE(must(client_reader.proceed()));
}

// The servers' end of many connections, in a process of its own: its open files have a limit of their own.
class serving_process {
public:
	serving_process(const descriptor &listener, std::size_t connections)
	{
		std::array<int, 2> ends{};
		if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
			throw std::runtime_error("cannot make a socket pair");
		ours_ = descriptor(ends[0]);
		descriptor theirs(ends[1]);
		pid_ = ::fork();
		if (pid_ == 0) {
			ours_ = {}; // so that it ends when the test does
			serve(listener.get(), theirs.get(), connections);
		}
	}
	serving_process(const serving_process &) = delete;
	serving_process &operator=(const serving_process &) = delete;
	~serving_process()
	{
		ours_ = {};
		if (pid_ > 0)
			::waitpid(pid_, nullptr, 0);
	}
	// Of the connection that was accepted next.
	std::uint32_t token() const
	{
		std::uint32_t token = 0;
		return ::read(ours_.get(), &token, sizeof token) == sizeof token ? token : 0;
	}

private:
	[[noreturn]] static void serve(int listener, int parent, std::size_t connections)
	{
		for (; connections > 0; --connections) {
			const int fd = ::accept(listener, nullptr, nullptr);
			char byte = 0;
			if (fd < 0 || ::read(fd, &byte, 1) != 1 || ::write(fd, "", 1) != 1)
				::_exit(1);
			const auto info = read_mptcp_info(fd);
			if (!info || ::write(parent, &info->mptcpi_token, sizeof info->mptcpi_token) != 4)
				::_exit(1);
		}
		char end = 0;
		::_exit(::read(parent, &end, 1) == 0 ? 0 : 1);
	}

	descriptor ours_;
	pid_t pid_ = -1;
};

// Ten thousand connections, each with a second subflow.
class snapshot_reader_crowd : public snapshot_reader_live {
protected:
	static constexpr std::size_t count = 10000;
	token_list here, there; // sorted

	void SetUp() override
	{
		snapshot_reader_live::SetUp();
		ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit_), 0);
		const rlimit raised{limit_.rlim_max, limit_.rlim_max};
		ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &raised), 0);
		servers_ = std::make_unique<serving_process>(listener, count);
		must(in_namespace(l.client, [&]() -> expected<void> { return open_all(); }));
		std::sort(here.begin(), here.end());
		std::sort(there.begin(), there.end());
	}
	void TearDown() override { EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &limit_), 0); }

	expected<void> open_all()
	{
		for (std::size_t i = 0; i < count; ++i) {
			const bool ipv6 = i % 2;
			descriptor s(::socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
			const auto to = to_sockaddr(lab::server_address(0, ipv6), port);
			char byte = 0;
			if (!s || ::connect(s.get(), to.get(), to.length) != 0 || ::write(s.get(), "", 1) != 1 ||
			    ::read(s.get(), &byte, 1) != 1)
				return fail_errno("cannot connect");
			here.push_back(token_of(s));
			there.push_back(servers_->token());
			if (const int error = command(
				    join(here.back(), lab::client_address(1, ipv6), lab::server_address(0, ipv6))))
				return fail("no subflow: " + std::to_string(error));
			clients_.push_back(std::move(s));
		}
		return {};
	}

	static void expect_exactly(const snapshot &s, const token_list &expected_tokens, bool client)
	{
		EXPECT_EQ(tokens(s), expected_tokens);
		ASSERT_EQ(s.subflows.size(), 2 * count);
		for (std::size_t i = 0; i < count; ++i) {
			const snapshot_subflow &a = s.subflows[2 * i], &b = s.subflows[2 * i + 1];
			EXPECT_EQ(a.token, expected_tokens[i]);
			EXPECT_EQ(b.token, expected_tokens[i]);
			EXPECT_NE(a.initial, b.initial);
			EXPECT_EQ(a.opened_here, client);
			EXPECT_EQ(b.opened_here, client);
		}
	}

private:
	std::unique_ptr<serving_process> servers_;
	std::vector<descriptor> clients_;
	rlimit limit_{};
};

TEST_F(snapshot_reader_crowd, is_listed_completely_and_exactly_however_often_it_is_asked_for)
{
	for (const bool client : {true, false}) {
		snapshot_reader &reader = client ? client_reader : server_reader;
		list_until(reader, with_subflows(2 * count));
		using clock = std::chrono::steady_clock;
		const auto begun = clock::now();
		auto longest = 0ns;
		unsigned parts = 0;
		must(reader.begin());
		for (bool done = false; !done; ++parts) {
			const auto before = clock::now();
			done = must(reader.proceed());
			longest = std::max<std::chrono::nanoseconds>(longest, clock::now() - before);
		}
		const auto milliseconds = [](auto time) {
			return std::chrono::duration<double, std::milli>(time).count();
		};
		std::printf("%zu connections with 2 subflows, %s: %.1f ms in %u parts, the longest %.1f ms\n", count,
			    client ? "client" : "server", milliseconds(clock::now() - begun), parts,
			    milliseconds(longest));
		expect_exactly(reader.take(), client ? here : there, client);
	}

	// Given up before its end, at every part of it.
	for (unsigned parts = 1; parts <= 20; ++parts) {
		must(client_reader.begin());
		for (unsigned i = 0; i < parts; ++i)
			must(client_reader.proceed());
	}
	must(client_reader.begin());
	must(client_reader.begin());
	expect_exactly(finish(client_reader), here, true);
}

// Whoever closes while the kernel counts its sockets makes it skip another one.
TEST_F(snapshot_reader_crowd, is_listed_completely_while_other_connections_come_and_go)
{
	list_until(client_reader, with_subflows(2 * count));
	auto others = std::async(std::launch::async, [&] {
		return run_load(l, {.connections = 5000, .rate = 4000, .hold_ms = 0, .patience_ms = 30000});
	});
	do {
		const token_list all = tokens(list(client_reader));
		EXPECT_TRUE(std::includes(all.begin(), all.end(), here.begin(), here.end()));
	} while (others.wait_for(0s) != std::future_status::ready);
	const auto report = others.get();
	ASSERT_TRUE(report) << report.error().text;
	EXPECT_EQ(report->made, 5000u) << report->first_failure;
}

} // namespace
