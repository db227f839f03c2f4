// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Events as a test would say them. Local addresses are 10.0.L.1 or fd00:L::1, remote ones 10.0.R.2 or fd00:R::2.
#pragma once

#include <algorithm>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

#include "pm-core/address.hpp"
#include "pm-core/types.h"

namespace pm::test {

inline pm_addr ipv6(std::uint8_t subnet, std::uint8_t host)
{
	pm_addr address{};
	address.bytes[0] = 0xfd;
	address.bytes[3] = subnet;
	address.bytes[15] = host;
	return address;
}
inline pm_addr local4(std::uint8_t path) { return ipv4(10, 0, path, 1); }
inline pm_addr remote4(std::uint8_t path) { return ipv4(10, 0, path, 2); }
inline pm_addr local6(std::uint8_t path) { return ipv6(path, 1); }
inline pm_addr remote6(std::uint8_t path) { return ipv6(path, 2); }

// The name of a policy where only letters, digits and underscores may be.
inline std::string identifier(std::string_view name)
{
	std::string text{name};
	std::replace(text.begin(), text.end(), '-', '_');
	return text;
}

inline constexpr std::uint16_t client_port = 40000, server_port = 80;

inline pm_event event(pm_event_type type, std::uint32_t token)
{
	pm_event e{};
	e.type = type;
	e.token = token;
	return e;
}

inline pm_event on_path(pm_event_type type, std::uint32_t token, const pm_addr &local, const pm_addr &remote,
			std::uint16_t local_port = client_port, std::uint16_t remote_port = server_port)
{
	pm_event e = event(type, token);
	e.local = local;
	e.remote = remote;
	e.local_port = local_port;
	e.remote_port = remote_port;
	e.has_local = e.has_remote = 1;
	return e;
}

inline pm_event created(std::uint32_t token, const pm_addr &local = local4(1), const pm_addr &remote = remote4(1),
			std::uint8_t flags = 0)
{
	pm_event e = on_path(PM_CREATED, token, local, remote);
	e.flags = flags;
	return e;
}

inline pm_event established(std::uint32_t token, const pm_addr &local = local4(1), const pm_addr &remote = remote4(1),
			    std::uint8_t flags = 0)
{
	pm_event e = created(token, local, remote, flags);
	e.type = PM_ESTABLISHED;
	return e;
}

inline pm_event announced(std::uint32_t token, std::uint8_t id, const pm_addr &remote, std::uint16_t port = 0)
{
	pm_event e = event(PM_ANNOUNCED, token);
	e.remote_id = id;
	e.remote = remote;
	e.remote_port = port;
	e.has_remote = 1;
	return e;
}

inline pm_event removed(std::uint32_t token, std::uint8_t id)
{
	pm_event e = event(PM_REMOVED, token);
	e.remote_id = id;
	return e;
}

// What the kernel says of the subflow that a command asked for.
inline pm_event answer(pm_event_type type, const pm_command &command, std::uint16_t local_port)
{
	pm_event e = on_path(type, command.token, command.local, command.remote, local_port, command.remote_port);
	e.local_id = command.local_id;
	e.remote_id = command.remote_id;
	e.command = type == PM_COMMAND_FAILED ? command.type : 0;
	return e;
}

inline pm_event local_added(const pm_addr &address, std::uint32_t ifindex = 1)
{
	pm_event e = event(PM_LOCAL_ADDED, 0);
	e.local = address;
	e.has_local = 1;
	e.ifindex = ifindex;
	return e;
}

inline pm_event local_removed(const pm_addr &address, std::uint32_t ifindex = 0)
{
	pm_event e = local_added(address, ifindex);
	e.type = PM_LOCAL_REMOVED;
	return e;
}

} // namespace pm::test
