// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Building the laboratory: namespaces, sysctls, links, addresses, endpoints, and a packet each way on every path.
#include "replay/lab.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <initializer_list>
#include <linux/mptcp.h>
#include <netinet/in.h>
#include <poll.h>

#include <fmt/format.h>

#include "pm-core/address.hpp"
#include "replay/endpoints.hpp"
#include "replay/links.hpp"

namespace pm::replay {

namespace {

enum class side { client, server };

pm_addr address(side which, unsigned path, bool ipv6)
{
	const u8 subnet = static_cast<u8>(path + 1);
	const u8 host = which == side::client ? 1 : 2;
	if (!ipv6)
		return ipv4(10, 0, subnet, host);
	pm_addr a{};
	a.bytes[0] = 0xfd;
	a.bytes[3] = subnet;
	a.bytes[15] = host;
	return a;
}

// ---- sysctls ----

expected<void> set_sysctls(const netns &where)
{
	const std::string ports = fmt::format("{} {}", first_client_port, last_client_port);
	const std::pair<const char *, const char *> values[] = {
		{"net.mptcp.enabled", "1"},
		// One path's address as source on another path's link: what a subflow to the initial address does.
		{"net.ipv4.conf.all.rp_filter", "0"},
		{"net.ipv4.conf.default.rp_filter", "0"},
		{"net.ipv6.conf.all.disable_ipv6", "0"},
		{"net.ipv6.conf.default.disable_ipv6", "0"},
		{"net.ipv6.conf.default.accept_dad", "0"},
		{"net.ipv6.conf.default.accept_ra", "0"},
		// Thousands of connections a second leave ports in TIME_WAIT faster than it ends.
		{"net.ipv4.tcp_max_tw_buckets", "100"},
		{"net.ipv4.tcp_fin_timeout", "2"},
		{"net.ipv4.ip_local_port_range", ports.c_str()},
		{"net.core.somaxconn", "65535"},
		{"net.ipv4.tcp_max_syn_backlog", "65535"},
	};
	for (const auto &[name, value] : values)
		if (auto set = where.set_sysctl(name, value); !set)
			return set;
	// A server that cannot be reached would turn MPTCP off for an hour (since 6.12; older kernels lack both).
	(void)where.set_sysctl("net.mptcp.blackhole_timeout", "0");
	return {};
}

// ---- links and addresses ----

// A solicitation that comes before the other side listens for it is repeated after a second, by default.
expected<void> solicit_often(const netns &where, unsigned paths)
{
	for (unsigned path = 0; path < paths; ++path)
		for (const char *protocol : {"ipv4", "ipv6"}) {
			const auto name = fmt::format("net.{}.neigh.{}.retrans_time_ms", protocol,
						      lab::link_name(path));
			if (auto set = where.set_sysctl(name, "20"); !set)
				return set;
		}
	return {};
}

expected<void> set_up_links(side which, unsigned paths)
{
	auto here = links::open();
	if (!here)
		return tl::unexpected(here.error());
	for (unsigned path = 0; path < paths; ++path) {
		if (auto up = here->bring_up(lab::link_name(path)); !up)
			return up;
		for (const bool ipv6 : {false, true})
			if (auto added = here->add_address(lab::link_name(path), address(which, path, ipv6)); !added)
				return added;
	}
	return {};
}

expected<void> add_links(unsigned paths, const netns &peer_namespace)
{
	auto here = links::open();
	if (!here)
		return tl::unexpected(here.error());
	for (unsigned path = 0; path < paths; ++path)
		if (auto added = here->add_veth(lab::link_name(path), lab::link_name(path), &peer_namespace); !added)
			return added;
	return {};
}

// ---- endpoints ----

expected<void> add_endpoints(side which, unsigned paths)
{
	const auto kernels = endpoints::open();
	if (!kernels)
		return tl::unexpected(kernels.error());
	if (auto set = kernels->set_limits(); !set)
		return set;
	const std::uint32_t flags = which == side::client ? MPTCP_PM_ADDR_FLAG_SUBFLOW : MPTCP_PM_ADDR_FLAG_SIGNAL;
	for (unsigned path = 1; path < paths; ++path)
		for (const bool ipv6 : {false, true})
			if (auto added = kernels->add(address(which, path, ipv6), flags); !added)
				return fail(fmt::format(
					"{}; it takes 8 in a namespace: {} paths need two for each but the first",
					added.error().text, paths));
	return {};
}

// ---- is it there? ----

expected<void> check_mptcp()
{
	descriptor s(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
	if (s)
		return {};
	if (errno == EPROTONOSUPPORT || errno == EINVAL)
		return fail("cannot open an MPTCP socket: this kernel has no MPTCP; use one built with CONFIG_MPTCP");
	return fail_errno("cannot open an MPTCP socket");
}

expected<descriptor> datagram_socket(const pm_addr &from, const pm_addr &to)
{
	constexpr std::uint16_t port = 1000;
	const auto local = to_sockaddr(from, port), remote = to_sockaddr(to, port);
	descriptor s(::socket(local.storage.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	if (!s || ::bind(s.get(), local.get(), local.length) != 0 ||
	    ::connect(s.get(), remote.get(), remote.length) != 0)
		return fail_errno("cannot reach the other side");
	return s;
}

// One try, a few milliseconds: a datagram from `from`, and whether it arrived.
bool carries(int from, int to)
{
	char byte = 0;
	pollfd arrival{to, POLLIN, 0};
	return ::send(from, &byte, 1, 0) == 1 && ::poll(&arrival, 1, 20) == 1 && ::recv(to, &byte, 1, 0) == 1;
}

// Links and IPv6 routes come up behind the calls that ask for it. The first connections must not pay for that, nor for
// finding the neighbours: so send a datagram each way until it arrives, for up to five seconds.
expected<void> await_path(const lab &l, unsigned path, bool ipv6)
{
	const pm_addr client = lab::client_address(path, ipv6), server = lab::server_address(path, ipv6);
	const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
	std::string why = "no packet arrives";
	do {
		auto a = in_namespace(l.client, [&] { return datagram_socket(client, server); });
		auto b = in_namespace(l.server, [&] { return datagram_socket(server, client); });
		if (a && b && carries(a->get(), b->get()) && carries(b->get(), a->get()))
			return {};
		if (!a || !b) {
			why = !a ? a.error().text : b.error().text;
			::poll(nullptr, 0, 10);
		}
	} while (std::chrono::steady_clock::now() < until);
	return fail(
		fmt::format("path {} between the namespaces does not carry {}: {}", path, ipv6 ? "IPv6" : "IPv4", why));
}

expected<void> build(const lab &l, const lab_options &options)
{
	if (auto there = check_mptcp(); !there)
		return there;
	for (const netns *where : {&l.client, &l.server})
		if (auto set = set_sysctls(*where); !set)
			return set;
	if (auto added = in_namespace(l.client, [&] { return add_links(options.paths, l.server); }); !added)
		return added;
	for (const side which : {side::client, side::server}) {
		const netns &where = which == side::client ? l.client : l.server;
		if (auto set = solicit_often(where, options.paths); !set)
			return set;
		auto set_up = in_namespace(where, [&]() -> expected<void> {
			auto links = set_up_links(which, options.paths);
			const bool wanted = options.endpoints && (which == side::client || options.announce);
			return links && wanted ? add_endpoints(which, options.paths) : links;
		});
		if (!set_up)
			return set_up;
	}
	for (unsigned path = 0; path < options.paths; ++path)
		for (const bool ipv6 : {false, true})
			if (auto carried = await_path(l, path, ipv6); !carried)
				return carried;
	return {};
}

} // namespace

socket_address to_sockaddr(const pm_addr &address, std::uint16_t port) noexcept
{
	socket_address out;
	if (is_ipv4(address)) {
		sockaddr_in in{};
		in.sin_family = AF_INET;
		in.sin_port = htons(port);
		std::memcpy(&in.sin_addr, address.bytes + 12, 4);
		std::memcpy(&out.storage, &in, out.length = sizeof in);
	} else {
		sockaddr_in6 in{};
		in.sin6_family = AF_INET6;
		in.sin6_port = htons(port);
		std::memcpy(&in.sin6_addr, address.bytes, 16);
		std::memcpy(&out.storage, &in, out.length = sizeof in);
	}
	return out;
}

std::string lab::link_name(unsigned path) { return fmt::format("p{}", path); }
pm_addr lab::client_address(unsigned path, bool ipv6) { return address(side::client, path, ipv6); }
pm_addr lab::server_address(unsigned path, bool ipv6) { return address(side::server, path, ipv6); }

expected<lab> lab::create(const lab_options &options)
{
	if (options.paths < 1 || options.paths > 8)
		return fail(fmt::format("a laboratory has 1 to 8 paths, not {}", options.paths));
	auto client = netns::create();
	if (!client)
		return tl::unexpected(client.error());
	auto server = netns::create();
	if (!server)
		return tl::unexpected(server.error());
	lab result(std::move(*client), std::move(*server));
	if (auto built = build(result, options); !built)
		return tl::unexpected(built.error());
	return result;
}

} // namespace pm::replay
