// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The settings of a path manager as text: a file of `NAME = VALUE` lines (# begins a comment), and the same assignments on
// a command line. One format for the daemon and for the mptcpd plugins.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pm-netlink/address_source.hpp"
#include "pm-netlink/policies.hpp"

namespace pm::netlink {

// What can be set beside the policy's own settings.
struct manager_settings {
	std::vector<std::string> policy; // NAME=VALUE, for make_settings()
	address_filter locals; // `interface = NAME` and `prefix = ADDRESS/LENGTH`, each any number of times
	std::uint32_t buffer_bytes = 8u << 20; // `buffer = BYTES` (4096 to 268435456), of the event socket
	std::size_t most_connections = 65536; // `connections = N` (1 to 10,000,000)
	bool accept_replay =
		false; // `accept-replay = yes|no`: take events whose sender is not the kernel: for measuring only
};

// Reads `text`; `name` (of the file) is for errors, which name the line: "NAME:3: ...". Policy settings are checked against
// `policy`, so an unknown name is an error here. Later assignments of the same name win, except interface and prefix,
// which add up. A policy's setting may be written as POLICY.NAME, and must be where NAME alone is one of those above.
[[nodiscard]] expected<manager_settings> parse_settings(std::string_view text, std::string_view name,
							const policy_info &policy);
[[nodiscard]] expected<manager_settings> read_settings_file(const std::string &path, const policy_info &policy);
// The same for one assignment NAME=VALUE of a command line, on top of `settings`.
[[nodiscard]] expected<void> assign_setting(manager_settings &settings, std::string_view assignment,
					    const policy_info &policy);

} // namespace pm::netlink
