// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A laboratory for path managers: real connections that this process holds open at both ends, and the paths that the
// kernel says each has. The kernel's own path manager opens nothing here.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pm-netlink/event_source.hpp"
#include "pm-netlink/mib.hpp"
#include "pm-netlink/netns.hpp"
#include "pm-netlink/snapshot.hpp"
#include "replay/lab.hpp"
#include "tests/support/daemon.hpp"

namespace pm::test {

// mapped: IPv4 through a socket of AF_INET6, which takes IPv6 subflows too. A socket of AF_INET does not.
enum class socket_kind { ipv4, ipv6, mapped };

using path = std::pair<std::string, std::string>; // local and remote address, as text
using paths = std::map<path, unsigned>; // how many established subflows

// From the client's address on one path to the server's on another, counted from 0.
[[nodiscard]] path from_to(unsigned client_path, unsigned server_path, bool ipv6 = false);
[[nodiscard]] paths all_pairs(unsigned number_of_paths, bool ipv6 = false);
[[nodiscard]] paths seen_from_the_server(const paths &of_client);
[[nodiscard]] unsigned count(const paths &all); // subflows

// An address of a path's link, at one of its ends, goes or comes.
void change_address(const netns &where, unsigned of_path, const pm_addr &address, bool there);

// Open connections from the client's path 0 to the server's.
class crowd {
public:
	crowd(const replay::lab &between, std::uint16_t port);
	// Each has carried a byte each way when this returns. Throws if one cannot be made. May run on any thread.
	void open(std::size_t number, socket_kind kind = socket_kind::ipv4);
	void close(std::size_t number); // the oldest ones
	// All of IPv4, anew, by the same sockets of the client.
	void reconnect();
	void close_at_the_client(); // all; their other ends stay open, and they count
	[[nodiscard]] std::size_t size() const noexcept { return ends_.size(); }

private:
	// Yields the server's end.
	[[nodiscard]] descriptor connect_to_server(const descriptor &here, socket_kind kind);

	const replay::lab &between_;
	std::uint16_t port_;
	descriptor listener_;
	std::vector<std::pair<descriptor, descriptor>> ends_;
};

// What the kernel lists at one end.
class path_reader {
public:
	explicit path_reader(const netns &where);
	[[nodiscard]] netlink::snapshot list();
	[[nodiscard]] std::map<std::uint32_t, paths> by_connection();

private:
	netlink::snapshot_reader reader_;
};

class scene {
public:
	static constexpr std::uint16_t port = 443;
	static constexpr double patience = 20; // seconds that a state may take to come about

	explicit scene(unsigned number_of_paths = 2);

	// Starts the daemon, at the client's end, and waits until it is ready. Its folder is `folder`.
	[[nodiscard]] daemon_process &manage(const words &arguments, const netns *where = nullptr);

	// Each connection of the crowd has exactly these paths, at both ends, or the test fails after `seconds`. Yields how
	// many seconds it took.
	double expect_paths(const paths &expected, double seconds = patience);
	// ... and still has when all of it has been looked at again, as far as that can be asked for.
	void expect_paths_to_stay(const paths &expected, daemon_process &daemon);
	void expect_paths_to_stay(const paths &expected, const std::function<std::uint64_t()> &commands,
				  const std::function<void()> &look_again);

	replay::lab world;
	temporary_folder folder;
	crowd connections;
	path_reader client, server;
	// Of the client's namespace: joins that it has asked for.
	[[nodiscard]] std::uint64_t joins_asked_for() const { return joins_asked_for_.read().value_or(0); }

private:
	std::vector<std::unique_ptr<daemon_process>> daemons_;
	netlink::event_source taking_joins_; // the server's kernel does while somebody listens to events
	netlink::mib joins_asked_for_;
};

// Empty if each of so many connections has these paths; otherwise what the first ones have instead.
[[nodiscard]] std::string difference(const std::map<std::uint32_t, paths> &found, std::size_t connections,
				     const paths &expected);

} // namespace pm::test
