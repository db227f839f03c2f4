// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// How long a path manager takes to open a second path, seen on the wire: from the packet with which the server confirms a
// connection (the client's ESTABLISHED event) to the first SYN with MP_JOIN, each when it arrives. Over Ethernet.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <pcap/pcap.h>

#include "pm-netlink/error.hpp"
#include "replay/load.hpp"

namespace pm::replay {

class join_capture {
public:
	// At the client's end of path 0 and the server's of all of them, from now on. Of all connections, those are looked at whose client's port
	// is a multiple of `every`, a power of two: each packet that is captured costs processor time.
	[[nodiscard]] static expected<join_capture> start(const lab &between, unsigned paths, unsigned every = 1);

	// Reads what was captured so far, in nanoseconds for each connection that had a join; those without one are left out,
	// and those that had the same port one after the other.
	[[nodiscard]] expected<std::vector<double>> delays(const std::vector<made_connection> &connections);

private:
	struct closer {
		void operator()(pcap_t *handle) const noexcept { pcap_close(handle); }
	};
	expected<void> listen(const std::vector<std::string> &interfaces, const std::string &wanted);
	void look(std::uint64_t time_ns, const unsigned char *packet, std::size_t length);

	std::vector<std::unique_ptr<pcap_t, closer>> handles_;
	std::unordered_map<std::uint32_t, std::uint64_t>
		confirmed_; // by the client's port and family: the first packet after SYN/ACK
	std::unordered_map<std::uint32_t, std::uint64_t> joined_; // by the server's token: the first SYN with MP_JOIN
};

} // namespace pm::replay
