// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "mptcpd-plugin/mptcpd_api.hpp"

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <dlfcn.h>
#include <mptcpd/path_manager.h>
#include <mptcpd/plugin.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "pm-core/address.hpp"

namespace pm::plugin {

namespace {

void (*event_handler)(const pm_event &) noexcept;
bool asking = false; // chosen_by_mptcpd() is waiting for an answer
bool answered = false;

// ---- addresses ----

std::uint16_t take_address(const sockaddr *from, pm_addr &address)
{
	if (from->sa_family == AF_INET) {
		sockaddr_in in;
		std::memcpy(&in, from, sizeof in);
		const auto *byte = reinterpret_cast<const unsigned char *>(&in.sin_addr);
		address = ipv4(byte[0], byte[1], byte[2], byte[3]);
		return ntohs(in.sin_port);
	}
	sockaddr_in6 in;
	std::memcpy(&in, from, sizeof in);
	std::memcpy(address.bytes, &in.sin6_addr, sizeof address.bytes);
	return ntohs(in.sin6_port);
}

struct socket_address {
	sockaddr_storage storage{};
	const sockaddr *get() const noexcept { return reinterpret_cast<const sockaddr *>(&storage); }

	// `mapped`: an IPv4 address as IPv6, beside an address that is.
	socket_address(const pm_addr &address, std::uint16_t port, bool mapped) noexcept
	{
		if (is_ipv4(address) && !mapped) {
			sockaddr_in in{};
			in.sin_family = AF_INET;
			in.sin_port = htons(port);
			std::memcpy(&in.sin_addr, address.bytes + 12, 4);
			std::memcpy(&storage, &in, sizeof in);
		} else {
			sockaddr_in6 in{};
			in.sin6_family = AF_INET6;
			in.sin6_port = htons(port);
			std::memcpy(&in.sin6_addr, address.bytes, 16);
			std::memcpy(&storage, &in, sizeof in);
		}
	}
};

// ---- callbacks ----

pm_event about(pm_event_type type, mptcpd_token_t token)
{
	pm_event event{};
	event.type = static_cast<pm_u8>(type);
	event.token = token;
	return event;
}

void tell(pm_event_type type, mptcpd_token_t token, const sockaddr *local, const sockaddr *remote, pm_u8 flags = 0,
	  pm_u8 error = 0)
{
	pm_event event = about(type, token);
	event.local_port = take_address(local, event.local);
	event.remote_port = take_address(remote, event.remote);
	event.has_local = event.has_remote = 1;
	event.flags = static_cast<pm_u8>(flags | (local->sa_family == AF_INET ? PM_IPV4_SOCKET : 0));
	event.error = error;
	event_handler(event);
}

pm_u8 connection_flags(bool server_side, bool deny_join_id0)
{
	return static_cast<pm_u8>((server_side ? PM_SERVER_SIDE : 0) | (deny_join_id0 ? PM_DENY_JOIN_ID0 : 0));
}

// Where versions differ there is an overload for each: the type of the member that it is assigned to chooses.
void created(mptcpd_token_t token, const sockaddr *local, const sockaddr *remote, bool server_side, bool deny_join_id0,
	     mptcpd_pm *)
{
	if (asking)
		answered = true;
	else
		tell(PM_CREATED, token, local, remote, connection_flags(server_side, deny_join_id0));
}
[[maybe_unused]] void created(mptcpd_token_t token, const sockaddr *local, const sockaddr *remote, bool server_side,
			      mptcpd_pm *pm)
{
	created(token, local, remote, server_side, false, pm);
}

void established(mptcpd_token_t token, const sockaddr *local, const sockaddr *remote, bool server_side,
		 bool deny_join_id0, mptcpd_pm *)
{
	tell(PM_ESTABLISHED, token, local, remote, connection_flags(server_side, deny_join_id0));
}
[[maybe_unused]] void established(mptcpd_token_t token, const sockaddr *local, const sockaddr *remote, bool server_side,
				  mptcpd_pm *pm)
{
	established(token, local, remote, server_side, false, pm);
}

void closed(mptcpd_token_t token, mptcpd_pm *) { event_handler(about(PM_CLOSED, token)); }

void announced(mptcpd_token_t token, mptcpd_aid_t id, const sockaddr *address, mptcpd_pm *)
{
	pm_event event = about(PM_ANNOUNCED, token);
	event.remote_id = id;
	event.remote_port = take_address(address, event.remote);
	event.has_remote = 1;
	event_handler(event);
}

void removed(mptcpd_token_t token, mptcpd_aid_t id, mptcpd_pm *)
{
	pm_event event = about(PM_REMOVED, token);
	event.remote_id = id;
	event_handler(event);
}

void subflow_established(mptcpd_token_t token, const sockaddr *local, const sockaddr *remote, bool, mptcpd_pm *)
{
	tell(PM_SUB_ESTABLISHED, token, local, remote);
}

void subflow_closed(mptcpd_token_t token, const sockaddr *local, const sockaddr *remote, bool, std::uint8_t error,
		    mptcpd_pm *)
{
	tell(PM_SUB_CLOSED, token, local, remote, 0, error);
}
[[maybe_unused]] void subflow_closed(mptcpd_token_t token, const sockaddr *local, const sockaddr *remote, bool backup,
				     mptcpd_pm *pm)
{
	subflow_closed(token, local, remote, backup, 0, pm);
}

// mptcpd 0.13 reads a plugin that was built for 0.12 as if it had its own, longer table: what lies behind is null.
struct padded_callbacks {
	mptcpd_plugin_ops table{};
	void (*none[8])() = {};
};

constexpr bool says_deny_join_id0 =
	std::is_same_v<decltype(mptcpd_plugin_ops::new_connection),
		       void (*)(mptcpd_token_t, const sockaddr *, const sockaddr *, bool, bool, mptcpd_pm *)>;

} // namespace

const mptcpd_plugin_ops &callbacks(void (*handle)(const pm_event &) noexcept) noexcept
{
	static padded_callbacks padded;
	event_handler = handle;
	// The network monitor's are left out: our own address_source is told more. See path_manager.hpp.
	padded.table.new_connection = created;
	padded.table.connection_established = established;
	padded.table.connection_closed = closed;
	padded.table.new_address = announced;
	padded.table.address_removed = removed;
	padded.table.new_subflow = subflow_established;
	padded.table.subflow_closed = subflow_closed;
	return padded.table;
}

bool give_to_mptcpd(mptcpd_pm *pm, const pm_command &command)
{
	const bool mapped = (command.flags & PM_MAPPED) || is_ipv4(command.local) != is_ipv4(command.remote);
	const socket_address local{command.local, command.local_port, mapped};
	const socket_address remote{command.remote, command.remote_port, mapped};
	const bool backup = command.flags & PM_BACKUP;
	switch (command.type) {
	case PM_OPEN_SUBFLOW:
		return mptcpd_pm_add_subflow(pm, command.token, command.local_id, command.remote_id, local.get(),
					     remote.get(), backup) == 0;
	case PM_CLOSE_SUBFLOW: return mptcpd_pm_remove_subflow(pm, command.token, local.get(), remote.get()) == 0;
	case PM_SET_BACKUP: return mptcpd_pm_set_backup(pm, command.token, local.get(), remote.get(), backup) == 0;
	default: return false;
	}
}

// mptcpd is asked as its own code asks: what it does with a new connection that no plugin was named for. The function is
// exported, though not in a header of the development package. A token that no connection has stays in mptcpd's table.
bool chosen_by_mptcpd(mptcpd_pm *pm)
{
	void *const symbol = dlsym(RTLD_DEFAULT, "mptcpd_plugin_new_connection");
	if (!symbol)
		return true;
	constexpr mptcpd_token_t nobody = 0xffffffff;
	const socket_address nowhere{pm_addr{}, 0, false};
	asking = true;
	answered = false;
	if constexpr (says_deny_join_id0)
		reinterpret_cast<void (*)(const char *, mptcpd_token_t, const sockaddr *, const sockaddr *, bool, bool,
					  mptcpd_pm *)>(symbol)(nullptr, nobody, nowhere.get(), nowhere.get(), true,
								false, pm);
	else
		reinterpret_cast<void (*)(const char *, mptcpd_token_t, const sockaddr *, const sockaddr *, bool,
					  mptcpd_pm *)>(symbol)(nullptr, nobody, nowhere.get(), nowhere.get(), true,
								pm);
	asking = false;
	return answered;
}

} // namespace pm::plugin
