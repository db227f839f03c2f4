// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// How long a path manager takes to open a second path, seen on the wire: from the packet with which the server confirms a
// connection (the client's ESTABLISHED event) to the first SYN with MP_JOIN, each when it arrives.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pm-bpf/arrivals.hpp"
#include "pm-netlink/error.hpp"
#include "replay/load.hpp"

namespace pm::replay {

class join_times {
public:
	// At the client's end of path 0 and the server's of all of them, from now on and as long as this lives, for a load of
	// so many connections between them. Of more than `most`, a sample of about that many is looked at, by their ports.
	[[nodiscard]] static expected<join_times> start(const lab &between, unsigned paths, std::uint64_t connections,
							std::uint64_t most = UINT64_MAX);

	// So far, in nanoseconds, for each connection that had a join; those without one are left out, and all but the last of
	// those that had the same port one after the other: of more than some thousand in a family, mostly late ones are told.
	[[nodiscard]] expected<std::vector<double>> delays(const std::vector<made_connection> &connections) const;

	join_times(join_times &&) noexcept = default;
	~join_times();

private:
	explicit join_times(bpf::arrivals arrivals) noexcept : arrivals_(std::move(arrivals)) {}
	template <class Attach>
	[[nodiscard]] expected<void> attach(const netns &where, unsigned path, Attach &&how);

	struct entrance {
		const netns *where;
		std::string link;
	};
	bpf::arrivals arrivals_;
	std::vector<entrance> attached_;
};

} // namespace pm::replay
