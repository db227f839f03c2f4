// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What the generic netlink controller says of the family `mptcp_pm`: its number, its event group, and the message itself.
#pragma once

#include <cstdint>
#include <vector>

#include "pm-netlink/codec.hpp"
#include "pm-netlink/error.hpp"

namespace pm::netlink {

struct family {
	std::uint16_t id = 0;
	std::uint32_t events_group = 0; // of the multicast group "mptcp_pm_events"
	std::vector<std::byte> description; // the controller's CTRL_CMD_NEWFAMILY message, whole
};

// Asks the kernel, in the calling thread's network namespace. Fails if the kernel has no MPTCP.
[[nodiscard]] expected<family> ask_family();

// Whether a socket, of whatever kind, is a generic netlink one that listens to this group.
[[nodiscard]] bool is_member(int socket, std::uint32_t group) noexcept;

// Reads a controller's description. `foreign` if it describes another family.
[[nodiscard]] tl::expected<family, refusal> decode_family(bytes message);

// A description for a trace that no kernel was asked about.
[[nodiscard]] std::vector<std::byte> encode_family(std::uint16_t id, std::uint32_t events_group);

} // namespace pm::netlink
