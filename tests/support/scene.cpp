// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "tests/support/scene.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pm-core/address.hpp"
#include "replay/links.hpp"

namespace pm::test {

using namespace netlink;
using replay::lab;
using clock = std::chrono::steady_clock;

namespace {

std::string text_of(const pm_addr &address)
{
	char text[INET6_ADDRSTRLEN] = "";
	const bool v4 = is_ipv4(address);
	inet_ntop(v4 ? AF_INET : AF_INET6, address.bytes + (v4 ? 12 : 0), text, sizeof text);
	return text;
}

std::string text_of(const paths &all)
{
	std::string text;
	for (const auto &[between, number] : all)
		text += fmt::format("  {} of {} - {}\n", number, between.first, between.second);
	return text.empty() ? "  none\n" : text;
}

// As a socket of AF_INET6 takes an IPv4 address.
replay::socket_address mapped(const pm_addr &address, std::uint16_t port)
{
	replay::socket_address made;
	sockaddr_in6 in{};
	in.sin6_family = AF_INET6;
	in.sin6_port = htons(port);
	std::memcpy(&in.sin6_addr, address.bytes, sizeof address.bytes);
	std::memcpy(&made.storage, &in, made.length = sizeof in);
	return made;
}

void raise_file_limit()
{
	rlimit limit{};
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

// Nothing waits for ever, so that what goes wrong is reported.
void be_patient(const descriptor &socket)
{
	const timeval longest{10, 0};
	setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
	setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &longest, sizeof longest);
}

descriptor listen_at(const netns &where, std::uint16_t port)
{
	return must(in_namespace(where, [&]() -> expected<descriptor> {
		descriptor made{socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP)};
		const auto any = replay::to_sockaddr(pm_addr{}, port);
		const int on = 1;
		setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		if (!made || bind(made.get(), any.get(), any.length) != 0 || listen(made.get(), 1000) != 0)
			return fail_errno("cannot listen");
		be_patient(made);
		return made;
	}));
}

// A byte from one end to the other.
bool carries(const descriptor &from, const descriptor &to)
{
	char byte = 1;
	return send(from.get(), &byte, 1, MSG_NOSIGNAL) == 1 && recv(to.get(), &byte, 1, 0) == 1;
}

// Subflows are bound to the interface of their address, and IPv6 then wants a route by that interface.
void add_routes_between_paths(const netns &client, unsigned number_of_paths)
{
	std::string commands = "true";
	for (unsigned by = 0; by < number_of_paths; ++by)
		for (unsigned to = 0; to < number_of_paths; ++to)
			if (by != to)
				commands +=
					fmt::format(" && ip -6 route add fd00:{}::/64 via fd00:{}::2 dev p{} metric {}",
						    to + 1, by + 1, by, 2048 + by);
	run_in(client, commands);
}

lab make_lab(unsigned number_of_paths)
{
	auto made = must(lab::create({.paths = number_of_paths, .endpoints = false}));
	must(made.server.set_sysctl("net.mptcp.pm_type", "1"));
	if (number_of_paths > 1)
		add_routes_between_paths(made.client, number_of_paths);
	return made;
}

} // namespace

path from_to(unsigned client_path, unsigned server_path, bool ipv6)
{
	return {text_of(lab::client_address(client_path, ipv6)), text_of(lab::server_address(server_path, ipv6))};
}

paths all_pairs(unsigned number_of_paths, bool ipv6)
{
	paths all;
	for (unsigned here = 0; here < number_of_paths; ++here)
		for (unsigned there = 0; there < number_of_paths; ++there)
			all[from_to(here, there, ipv6)] = 1;
	return all;
}

paths seen_from_the_server(const paths &of_client)
{
	paths all;
	for (const auto &[between, number] : of_client)
		all[{between.second, between.first}] = number;
	return all;
}

unsigned count(const paths &all)
{
	unsigned sum = 0;
	for (const auto &[between, number] : all)
		sum += number;
	return sum;
}

void change_address(const netns &where, unsigned of_path, const pm_addr &address, bool there)
{
	must(in_namespace(where, [&]() -> expected<void> { // which the name of a link means one of
		auto links = replay::links::open();
		if (!links)
			return tl::unexpected(links.error());
		const std::string name = lab::link_name(of_path);
		return there ? links->add_address(name, address) : links->remove_address(name, address);
	}));
}

// ---- connections ----

crowd::crowd(const lab &between, std::uint16_t port)
	: between_(between), port_(port), listener_(listen_at(between.server, port))
{
	raise_file_limit();
}

void crowd::open(std::size_t number, socket_kind kind)
{
	must(in_namespace(between_.client, [&]() -> expected<void> {
		for (std::size_t i = 0; i < number; ++i) {
			const int family = kind == socket_kind::ipv4 ? AF_INET : AF_INET6;
			descriptor here{socket(family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP)};
			if (!here)
				throw std::runtime_error(fmt::format("cannot open a socket: {}", std::strerror(errno)));
			be_patient(here);
			descriptor there = connect_to_server(here, kind);
			ends_.emplace_back(std::move(here), std::move(there));
		}
		return {};
	}));
}

void crowd::reconnect()
{
	for (auto &[here, there] : ends_) {
		sockaddr nobody{};
		nobody.sa_family = AF_UNSPEC;
		if (connect(here.get(), &nobody, sizeof nobody) != 0)
			throw std::runtime_error(fmt::format("cannot disconnect: {}", std::strerror(errno)));
		there = connect_to_server(here, socket_kind::ipv4);
	}
}

descriptor crowd::connect_to_server(const descriptor &here, socket_kind kind)
{
	const pm_addr server = lab::server_address(0, kind == socket_kind::ipv6);
	const auto to = kind == socket_kind::mapped ? mapped(server, port_) : replay::to_sockaddr(server, port_);
	if (connect(here.get(), to.get(), to.length) != 0)
		throw std::runtime_error(fmt::format("cannot connect: {}", std::strerror(errno)));
	descriptor there{accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
	if (!there)
		throw std::runtime_error(fmt::format("cannot accept a connection: {}", std::strerror(errno)));
	be_patient(there);
	if (!carries(here, there) || !carries(there, here))
		throw std::runtime_error("a connection carries no byte");
	return there;
}

void crowd::close(std::size_t number)
{
	ends_.erase(ends_.begin(), ends_.begin() + static_cast<std::ptrdiff_t>(std::min(number, ends_.size())));
}

void crowd::close_at_the_client()
{
	for (auto &[here, there] : ends_)
		here = descriptor{};
}

// ---- their paths ----

path_reader::path_reader(const netns &where)
	: reader_(must(in_namespace(where, [] { return snapshot_reader::open(); })))
{
}

snapshot path_reader::list()
{
	must(reader_.begin());
	for (;;) {
		pollfd waiting{reader_.fd(), POLLIN, 0};
		if (poll(&waiting, 1, 5000) != 1)
			throw std::runtime_error("the kernel's list stopped before its end");
		if (must(reader_.proceed()))
			return reader_.take();
	}
}

std::map<std::uint32_t, paths> path_reader::by_connection()
{
	const snapshot all = list();
	std::map<std::uint32_t, paths> found;
	for (const snapshot_connection &each : all.connections)
		found[each.token];
	for (const snapshot_subflow &each : all.subflows)
		if (const auto at = found.find(each.token); at != found.end() && !each.opening)
			++at->second[{text_of(each.local), text_of(each.remote)}];
	return found;
}

std::string difference(const std::map<std::uint32_t, paths> &found, std::size_t connections, const paths &expected)
{
	std::string text;
	if (found.size() != connections)
		text = fmt::format("{} connections, not {}\n", found.size(), connections);
	std::size_t others = 0;
	const paths *first = nullptr;
	for (const auto &[token, has] : found)
		if (has != expected && ++others == 1)
			first = &has;
	if (first)
		text += fmt::format(
			"{} of {} connections do not have what they should; the first has\n{}instead of\n{}", others,
			found.size(), text_of(*first), text_of(expected));
	return text;
}

// ---- the whole ----

scene::scene(unsigned number_of_paths)
	: world(make_lab(number_of_paths)), connections(world, port), client(world.client), server(world.server),
	  taking_joins_(must(in_namespace(world.server, [] { return event_source::open({.buffer_bytes = 4096}); }))),
	  joins_asked_for_(counter_in(world.client, "MPJoinSynTx"))
{
}

daemon_process &scene::manage(const words &arguments, const netns *where)
{
	daemons_.push_back(std::make_unique<daemon_process>(where ? *where : world.client, folder, arguments));
	daemons_.back()->await_ready();
	return *daemons_.back();
}

double scene::expect_paths(const paths &expected, double seconds)
{
	const auto begun = clock::now();
	std::string here, there;
	(void)await(seconds, [&] {
		here = difference(client.by_connection(), connections.size(), expected);
		if (here.empty())
			there = difference(server.by_connection(), connections.size(), seen_from_the_server(expected));
		return here.empty() && there.empty();
	});
	EXPECT_EQ(here, "") << "at the client's end";
	EXPECT_EQ(there, "") << "at the server's end";
	return std::chrono::duration<double>(clock::now() - begun).count();
}

void scene::expect_paths_to_stay(const paths &expected, daemon_process &daemon)
{
	expect_paths_to_stay(expected, [&] { return daemon.figure("/commands/sent"); }, [&] { daemon.resync(); });
}

void scene::expect_paths_to_stay(const paths &expected, const std::function<std::uint64_t()> &commands,
				 const std::function<void()> &look_again)
{
	expect_paths(expected);
	const std::uint64_t sent = commands(), joins = joins_asked_for();
	look_again();
	expect_paths(expected);
	EXPECT_EQ(commands(), sent) << "nothing is opened or closed in between";
	EXPECT_EQ(joins_asked_for(), joins);
}

} // namespace pm::test
