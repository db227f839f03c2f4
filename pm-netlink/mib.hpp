// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A counter of the kernel's MPTCP statistics (/proc/net/netstat, `nstat` shows them) of one network namespace.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "pm-netlink/netns.hpp"

namespace pm::netlink {

class mib {
public:
	// `counter` of the calling thread's network namespace, say "AddAddr". Where there is none, read() yields nothing.
	explicit mib(std::string counter);
	[[nodiscard]] std::optional<std::uint64_t> read() const;

private:
	std::string counter_;
	descriptor file_;
};

} // namespace pm::netlink
