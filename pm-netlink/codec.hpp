// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The messages of the kernel's generic netlink family `mptcp_pm`, from and to bytes: events and commands. No
// allocation, no I/O; a message is one netlink message with its header (struct nlmsghdr, struct genlmsghdr, attributes),
// in host byte order as netlink has it. Bytes after the length that the header claims are not looked at. Source of the
// layout: linux/mptcp_pm.h, Documentation/netlink/specs/mptcp_pm.yaml.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <tl/expected.hpp>

#include "pm-core/types.h"

namespace pm::netlink {

using bytes = std::span<const std::byte>;

// Why a message was not taken.
enum class refusal : std::uint8_t {
	truncated, // shorter than its headers, or those of its attributes, say
	foreign, // of another family, or a control message
	unknown_type, // of the family, with a command number that is no event (or no command) known here
	bad_attribute, // an attribute of a wrong length, a token of 0, an address family and address that do not fit
	missing_attribute, // without an attribute that its type needs
};
inline constexpr std::size_t refusal_count = 5;
[[nodiscard]] std::string_view to_string(refusal why) noexcept;

// Large enough for every event and command that this codec writes.
inline constexpr std::size_t max_message = 256;

// One event message. Unknown attributes, and those that the event's type does not carry, are skipped, as netlink demands.
// `seq` is the message's own, `time_ns` 0.
[[nodiscard]] tl::expected<pm_event, refusal> decode_event(bytes message, std::uint16_t family) noexcept;

// Writes an event as the kernel would send it, with event.seq as the message's number. Yields the length; 0 if `out` is
// too small or the event has no form on the wire: a type of our own, such as PM_LOCAL_ADDED, a token of 0, an address
// missing. IPv4 is written as AF_INET, except beside an IPv6 address, or for a connection whose socket is of AF_INET6
// (without PM_IPV4_SOCKET): then both are AF_INET6.
[[nodiscard]] std::size_t encode_event(const pm_event &event, std::uint16_t family, std::span<std::byte> out) noexcept;

// The same for the five commands of the userspace path manager; `seq` is the message's number. Fields that a command
// does not carry (the addresses of PM_WITHDRAW, the remote one of PM_ANNOUNCE) are neither written nor read.
[[nodiscard]] tl::expected<pm_command, refusal> decode_command(bytes message, std::uint16_t family) noexcept;
[[nodiscard]] std::size_t encode_command(const pm_command &command, std::uint16_t family, std::uint32_t seq,
					 std::span<std::byte> out) noexcept;

// Local addresses, as NETLINK_ROUTE has them: RTM_NEWADDR and RTM_DELADDR to PM_LOCAL_ADDED and PM_LOCAL_REMOVED with
// token 0, and back. Loopback and link-local addresses, new ones that are still tentative and deprecated ones decode to
// `foreign`: no path starts there. (The removal of an address is told whatever its flags were.)
[[nodiscard]] tl::expected<pm_event, refusal> decode_address(bytes message) noexcept;
[[nodiscard]] std::size_t encode_address(const pm_event &event, std::span<std::byte> out) noexcept;

} // namespace pm::netlink
