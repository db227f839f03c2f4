// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Path-manager events and commands, from and to bytes. What a message carries is a table; the rest follows it. Local
// addresses are in codec_address.cpp.
#include "pm-netlink/codec.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "pm-core/address.hpp"
#include "pm-netlink/wire.hpp"

namespace pm::netlink {
namespace {

using wire::any_length;
using wire::unknown;

template <class... T>
constexpr std::uint32_t mask(T... numbers)
{
	return ((1u << numbers) | ... | 0u);
}

using failure = std::optional<refusal>;

// The two attributes that may hold one address.
struct address_attributes {
	unsigned ipv4, ipv6;
};

// Reads the address into `out`. `family` is what the message said so far, AF_UNSPEC if nothing, and is made definite.
template <std::size_t N>
failure read_address(const wire::attribute_table<N> &from, address_attributes at, int &family, pm_addr &out) noexcept
{
	const bool four = from.has(at.ipv4), six = from.has(at.ipv6);
	if (four && six)
		return refusal::bad_attribute;
	if (!four && !six)
		return refusal::missing_attribute;
	const int found = four ? AF_INET : AF_INET6;
	if (family == AF_UNSPEC)
		family = found;
	if (family != found)
		return refusal::bad_attribute;
	if (four)
		out = ipv4(0, 0, 0, 0);
	const bytes payload = from.payload(four ? at.ipv4 : at.ipv6);
	std::memcpy(out.bytes + (four ? 12 : 0), payload.data(), payload.size());
	return std::nullopt;
}

void write_address(wire::message_writer &to, address_attributes at, int family, const pm_addr &address) noexcept
{
	if (family == AF_INET)
		to.put(at.ipv4, address.bytes + 12, 4);
	else
		to.put(at.ipv6, address.bytes, 16);
}

int family_of(const pm_addr &address) noexcept { return is_ipv4(address) ? AF_INET : AF_INET6; }

// --- Events ---

constexpr std::array<std::uint8_t, MPTCP_ATTR_SERVER_SIDE + 1> event_lengths = {
	unknown, 4, 2, 1, 1, 4, 16, 4, 16, 2, 2, 1, 1, 2, unknown, 4, unknown, unknown, 1,
};
using event_table = wire::attribute_table<event_lengths.size()>;

constexpr address_attributes local_attributes{MPTCP_ATTR_SADDR4, MPTCP_ATTR_SADDR6};
constexpr address_attributes remote_attributes{MPTCP_ATTR_DADDR4, MPTCP_ATTR_DADDR6};

// An event's attributes in the order in which the kernel writes them, and those without which it is refused. SADDR4 and
// DADDR4 stand for the address in either family; an address that an event carries it also needs.
struct event_shape {
	std::array<std::uint8_t, 12> order{};
	std::uint32_t needs = 0;
	bool local = mentions(MPTCP_ATTR_SADDR4), remote = mentions(MPTCP_ATTR_DADDR4);

	[[nodiscard]] constexpr bool mentions(std::uint8_t attribute) const
	{
		return std::find(order.begin(), order.end(), attribute) != order.end();
	}
};

constexpr std::uint32_t needs_four_tuple = mask(MPTCP_ATTR_TOKEN, MPTCP_ATTR_FAMILY, MPTCP_ATTR_SPORT,
						MPTCP_ATTR_DPORT);
constexpr event_shape of_connection{{MPTCP_ATTR_TOKEN, MPTCP_ATTR_SERVER_SIDE, MPTCP_ATTR_FLAGS, MPTCP_ATTR_FAMILY,
				     MPTCP_ATTR_SADDR4, MPTCP_ATTR_DADDR4, MPTCP_ATTR_SPORT, MPTCP_ATTR_DPORT,
				     MPTCP_ATTR_LOC_ID, MPTCP_ATTR_REM_ID},
				    needs_four_tuple};
constexpr event_shape of_subflow{{MPTCP_ATTR_TOKEN, MPTCP_ATTR_FAMILY, MPTCP_ATTR_SADDR4, MPTCP_ATTR_DADDR4,
				  MPTCP_ATTR_SPORT, MPTCP_ATTR_DPORT, MPTCP_ATTR_LOC_ID, MPTCP_ATTR_REM_ID,
				  MPTCP_ATTR_BACKUP, MPTCP_ATTR_IF_IDX, MPTCP_ATTR_ERROR},
				 needs_four_tuple};
constexpr event_shape of_listener{{MPTCP_ATTR_FAMILY, MPTCP_ATTR_SPORT, MPTCP_ATTR_SADDR4},
				  mask(MPTCP_ATTR_FAMILY, MPTCP_ATTR_SPORT)};

// Linux sends ANNOUNCED without MPTCP_ATTR_FAMILY, whatever its specification says.
constexpr auto event_shapes = [] {
	std::array<event_shape, PM_LISTENER_CLOSED + 1> shapes{};
	shapes[PM_CREATED] = shapes[PM_ESTABLISHED] = of_connection;
	shapes[PM_CLOSED] = {{MPTCP_ATTR_TOKEN}, mask(MPTCP_ATTR_TOKEN)};
	shapes[PM_ANNOUNCED] = {{MPTCP_ATTR_TOKEN, MPTCP_ATTR_REM_ID, MPTCP_ATTR_DPORT, MPTCP_ATTR_DADDR4},
				mask(MPTCP_ATTR_TOKEN, MPTCP_ATTR_REM_ID)};
	shapes[PM_REMOVED] = {{MPTCP_ATTR_TOKEN, MPTCP_ATTR_REM_ID}, mask(MPTCP_ATTR_TOKEN, MPTCP_ATTR_REM_ID)};
	shapes[PM_SUB_ESTABLISHED] = shapes[PM_SUB_CLOSED] = shapes[PM_SUB_PRIORITY] = of_subflow;
	shapes[PM_LISTENER_CREATED] = shapes[PM_LISTENER_CLOSED] = of_listener;
	return shapes;
}();
static_assert(int{PM_CREATED} == MPTCP_EVENT_CREATED && int{PM_SUB_PRIORITY} == MPTCP_EVENT_SUB_PRIORITY);

// Of which events the family matters: a socket of AF_INET6 may have IPv4 addresses, and IPv4 subflows.
constexpr bool tells_family(std::uint8_t type)
{
	return type == PM_CREATED || type == PM_ESTABLISHED || type == PM_SUB_ESTABLISHED;
}

failure read_addresses(const event_table &from, const event_shape &shape, pm_event &event) noexcept
{
	int family = from.value<std::uint16_t>(MPTCP_ATTR_FAMILY);
	if (from.has(MPTCP_ATTR_FAMILY) && family != AF_INET && family != AF_INET6)
		return refusal::bad_attribute;
	if (tells_family(event.type) && family == AF_INET)
		event.flags |= PM_IPV4_SOCKET;
	if (shape.local) {
		if (const auto failed = read_address(from, local_attributes, family, event.local))
			return failed;
		event.has_local = 1;
	}
	if (shape.remote) {
		if (const auto failed = read_address(from, remote_attributes, family, event.remote))
			return failed;
		event.has_remote = 1;
	}
	return std::nullopt;
}

constexpr pm_u8 flag_if(bool set, pm_event_flag flag) { return set ? static_cast<pm_u8>(flag) : pm_u8{0}; }

void read_value(const event_table &from, std::uint8_t attribute, pm_event &event) noexcept
{
	switch (attribute) {
	case MPTCP_ATTR_TOKEN: event.token = from.value<std::uint32_t>(attribute); break;
	case MPTCP_ATTR_LOC_ID: event.local_id = from.value<std::uint8_t>(attribute); break;
	case MPTCP_ATTR_REM_ID: event.remote_id = from.value<std::uint8_t>(attribute); break;
	case MPTCP_ATTR_SPORT: event.local_port = ntohs(from.value<std::uint16_t>(attribute)); break;
	case MPTCP_ATTR_DPORT: event.remote_port = ntohs(from.value<std::uint16_t>(attribute)); break;
	case MPTCP_ATTR_IF_IDX: event.ifindex = from.value<std::uint32_t>(attribute); break;
	case MPTCP_ATTR_ERROR: event.error = from.value<std::uint8_t>(attribute); break;
	case MPTCP_ATTR_BACKUP: event.flags |= flag_if(from.value<std::uint8_t>(attribute), PM_BACKUP); break;
	case MPTCP_ATTR_SERVER_SIDE: event.flags |= flag_if(from.value<std::uint8_t>(attribute), PM_SERVER_SIDE); break;
	case MPTCP_ATTR_FLAGS: {
		const auto flags = from.value<std::uint16_t>(attribute);
		event.flags |= flag_if(flags & wire::event_flag_server_side, PM_SERVER_SIDE);
		event.flags |= flag_if(flags & MPTCP_PM_EV_FLAG_DENY_JOIN_ID0, PM_DENY_JOIN_ID0);
		break;
	}
	}
}

// What the kernel leaves out when it is 0: IF_IDX, ERROR, FLAGS, SERVER_SIDE, and the port of an announcement.
void write_value(wire::message_writer &to, std::uint8_t attribute, const pm_event &event, std::uint16_t family) noexcept
{
	switch (attribute) {
	case MPTCP_ATTR_TOKEN: to.put(attribute, event.token); break;
	case MPTCP_ATTR_FAMILY: to.put(attribute, family); break;
	case MPTCP_ATTR_SADDR4: write_address(to, local_attributes, family, event.local); break;
	case MPTCP_ATTR_DADDR4: write_address(to, remote_attributes, family, event.remote); break;
	case MPTCP_ATTR_LOC_ID: to.put(attribute, event.local_id); break;
	case MPTCP_ATTR_REM_ID: to.put(attribute, event.remote_id); break;
	case MPTCP_ATTR_SPORT: to.put(attribute, htons(event.local_port)); break;
	case MPTCP_ATTR_BACKUP: to.put(attribute, static_cast<std::uint8_t>(event.flags & PM_BACKUP ? 1 : 0)); break;
	case MPTCP_ATTR_DPORT:
		if (event.remote_port != 0 || event.type != PM_ANNOUNCED)
			to.put(attribute, htons(event.remote_port));
		break;
	case MPTCP_ATTR_IF_IDX:
		if (event.ifindex != 0)
			to.put(attribute, event.ifindex);
		break;
	case MPTCP_ATTR_ERROR:
		if (event.error != 0)
			to.put(attribute, event.error);
		break;
	case MPTCP_ATTR_SERVER_SIDE:
		if (event.flags & PM_SERVER_SIDE)
			to.put(attribute, std::uint8_t{1});
		break;
	case MPTCP_ATTR_FLAGS: {
		unsigned flags = event.flags & PM_SERVER_SIDE ? wire::event_flag_server_side : 0;
		flags |= event.flags & PM_DENY_JOIN_ID0 ? MPTCP_PM_EV_FLAG_DENY_JOIN_ID0 : 0;
		if (flags != 0)
			to.put(attribute, static_cast<std::uint16_t>(flags));
		break;
	}
	}
}

// --- Commands ---

constexpr std::array<std::uint8_t, MPTCP_PM_ATTR_ADDR_REMOTE + 1> command_lengths = {
	unknown, any_length, unknown, unknown, 4, 1, any_length,
};
constexpr std::array<std::uint8_t, MPTCP_PM_ADDR_ATTR_IF_IDX + 1> endpoint_lengths = {unknown, 2, 1, 4, 16, 2, 4, 4};
constexpr address_attributes endpoint_attributes{MPTCP_PM_ADDR_ATTR_ADDR4, MPTCP_PM_ADDR_ATTR_ADDR6};

static_assert(int{PM_SET_BACKUP} == MPTCP_PM_CMD_SET_FLAGS && int{PM_WITHDRAW} == MPTCP_PM_CMD_REMOVE &&
	      int{PM_CLOSE_SUBFLOW} == MPTCP_PM_CMD_SUBFLOW_DESTROY);

// The attributes of each command; it carries none else. 0: no command.
constexpr std::uint32_t command_needs(std::uint8_t type)
{
	switch (type) {
	case PM_ANNOUNCE: return mask(MPTCP_PM_ATTR_TOKEN, MPTCP_PM_ATTR_ADDR);
	case PM_WITHDRAW: return mask(MPTCP_PM_ATTR_TOKEN, MPTCP_PM_ATTR_LOC_ID);
	case PM_SET_BACKUP:
	case PM_OPEN_SUBFLOW:
	case PM_CLOSE_SUBFLOW: return mask(MPTCP_PM_ATTR_TOKEN, MPTCP_PM_ATTR_ADDR, MPTCP_PM_ATTR_ADDR_REMOTE);
	default: return 0;
	}
}

// What MPTCP_PM_ATTR_ADDR and _ADDR_REMOTE hold. Ports in host order, unlike those of events.
struct endpoint {
	pm_addr address{};
	std::uint16_t port = 0;
	std::uint8_t id = 0;
	std::uint32_t flags = 0, ifindex = 0;
	int family = AF_UNSPEC; // as it is written
};

failure read_endpoint(bytes attributes, endpoint &out) noexcept
{
	wire::attribute_table<endpoint_lengths.size()> from;
	if (const auto failed = from.read(attributes, endpoint_lengths))
		return failed;
	if (!from.has(MPTCP_PM_ADDR_ATTR_FAMILY))
		return refusal::missing_attribute;
	int family = from.value<std::uint16_t>(MPTCP_PM_ADDR_ATTR_FAMILY);
	if (family != AF_INET && family != AF_INET6)
		return refusal::bad_attribute;
	out.port = from.value<std::uint16_t>(MPTCP_PM_ADDR_ATTR_PORT);
	out.id = from.value<std::uint8_t>(MPTCP_PM_ADDR_ATTR_ID);
	out.flags = from.value<std::uint32_t>(MPTCP_PM_ADDR_ATTR_FLAGS);
	out.ifindex = from.value<std::uint32_t>(MPTCP_PM_ADDR_ATTR_IF_IDX);
	out.family = family;
	return read_address(from, endpoint_attributes, family, out.address);
}

void write_endpoint(wire::message_writer &to, unsigned attribute, const endpoint &from, bool with_flags) noexcept
{
	const auto family = static_cast<std::uint16_t>(from.family);
	const std::size_t nest = to.open_nest(attribute);
	to.put(MPTCP_PM_ADDR_ATTR_FAMILY, family);
	write_address(to, endpoint_attributes, family, from.address);
	if (from.id != 0)
		to.put(MPTCP_PM_ADDR_ATTR_ID, from.id);
	if (from.port != 0)
		to.put(MPTCP_PM_ADDR_ATTR_PORT, from.port);
	if (with_flags)
		to.put(MPTCP_PM_ADDR_ATTR_FLAGS, from.flags);
	if (from.ifindex != 0)
		to.put(MPTCP_PM_ADDR_ATTR_IF_IDX, from.ifindex);
	to.close_nest(nest);
}

} // namespace

std::string_view to_string(refusal why) noexcept
{
	constexpr std::array<std::string_view, refusal_count> names = {
		"truncated", "foreign", "unknown type", "bad attribute", "missing attribute",
	};
	const auto place = static_cast<std::size_t>(why);
	return place < names.size() ? names[place] : "unknown reason";
}

tl::expected<pm_event, refusal> decode_event(bytes message, std::uint16_t family) noexcept
{
	const auto opened = wire::open_generic(message, family);
	if (!opened)
		return tl::unexpected(opened.error());
	if (opened->command >= event_shapes.size() || event_shapes[opened->command].needs == 0)
		return tl::unexpected(refusal::unknown_type);
	const event_shape &shape = event_shapes[opened->command];

	event_table attributes;
	if (const auto failed = attributes.read(opened->attributes, event_lengths))
		return tl::unexpected(*failed);
	if (!attributes.has_all(shape.needs))
		return tl::unexpected(refusal::missing_attribute);

	tl::expected<pm_event, refusal> event{pm_event{}};
	event->type = opened->command;
	event->seq = opened->seq;
	if (const auto failed = read_addresses(attributes, shape, *event))
		return tl::unexpected(*failed);
	for (const std::uint8_t attribute : shape.order)
		if (attributes.has(attribute))
			read_value(attributes, attribute, *event);
	if (event->token == 0 && (shape.needs & mask(MPTCP_ATTR_TOKEN)))
		return tl::unexpected(refusal::bad_attribute);
	return event;
}

std::size_t encode_event(const pm_event &event, std::uint16_t family, std::span<std::byte> out) noexcept
{
	if (event.type >= event_shapes.size() || event_shapes[event.type].needs == 0)
		return 0;
	const event_shape &shape = event_shapes[event.type];
	if ((shape.local && !event.has_local) || (shape.remote && !event.has_remote))
		return 0;
	if (event.token == 0 && (shape.needs & mask(MPTCP_ATTR_TOKEN)))
		return 0;
	const bool all_ipv4 = (!shape.local || is_ipv4(event.local)) && (!shape.remote || is_ipv4(event.remote)) &&
			      (!tells_family(event.type) || (event.flags & PM_IPV4_SOCKET));

	wire::message_writer to(out, family, 0, event.seq);
	to.generic(event.type, MPTCP_PM_VER);
	for (const std::uint8_t attribute : shape.order)
		write_value(to, attribute, event, all_ipv4 ? AF_INET : AF_INET6);
	return to.finish();
}

tl::expected<pm_command, refusal> decode_command(bytes message, std::uint16_t family) noexcept
{
	const auto opened = wire::open_generic(message, family);
	if (!opened)
		return tl::unexpected(opened.error());
	const std::uint32_t needs = command_needs(opened->command);
	if (needs == 0)
		return tl::unexpected(refusal::unknown_type);
	wire::attribute_table<command_lengths.size()> attributes;
	if (const auto failed = attributes.read(opened->attributes, command_lengths))
		return tl::unexpected(*failed);
	if (!attributes.has_all(needs))
		return tl::unexpected(refusal::missing_attribute);

	endpoint local, remote;
	if (needs & mask(MPTCP_PM_ATTR_ADDR))
		if (const auto failed = read_endpoint(attributes.payload(MPTCP_PM_ATTR_ADDR), local))
			return tl::unexpected(*failed);
	if (needs & mask(MPTCP_PM_ATTR_ADDR_REMOTE))
		if (const auto failed = read_endpoint(attributes.payload(MPTCP_PM_ATTR_ADDR_REMOTE), remote))
			return tl::unexpected(*failed);
	if (needs & mask(MPTCP_PM_ATTR_LOC_ID))
		local.id = attributes.value<std::uint8_t>(MPTCP_PM_ATTR_LOC_ID);

	pm_command command{};
	command.token = attributes.value<std::uint32_t>(MPTCP_PM_ATTR_TOKEN);
	command.type = opened->command;
	command.flags = local.flags & MPTCP_PM_ADDR_FLAG_BACKUP ? PM_BACKUP : 0;
	if (command.type == PM_CLOSE_SUBFLOW && local.family == AF_INET6 && is_ipv4(local.address))
		command.flags |= PM_MAPPED;
	command.local_id = local.id;
	command.remote_id = remote.id;
	command.local_port = local.port;
	command.remote_port = remote.port;
	command.ifindex = local.ifindex;
	command.local = local.address;
	command.remote = remote.address;
	if (command.token == 0)
		return tl::unexpected(refusal::bad_attribute);
	return command;
}

std::size_t encode_command(const pm_command &command, std::uint16_t family, std::uint32_t seq,
			   std::span<std::byte> out) noexcept
{
	const std::uint32_t needs = command_needs(command.type);
	if (needs == 0 || command.token == 0)
		return 0;
	// The kernel announces only what is to be signalled, and opens subflows only from what is not.
	unsigned flags = command.type == PM_ANNOUNCE ? MPTCP_PM_ADDR_FLAG_SIGNAL : 0;
	flags |= command.type == PM_OPEN_SUBFLOW ? MPTCP_PM_ADDR_FLAG_SUBFLOW : 0;
	flags |= command.flags & PM_BACKUP ? MPTCP_PM_ADDR_FLAG_BACKUP : 0;

	const bool mapped = command.flags & PM_MAPPED;
	const int local = mapped ? AF_INET6 : family_of(command.local),
		  remote = mapped ? AF_INET6 : family_of(command.remote);
	wire::message_writer to(out, family, NLM_F_REQUEST | NLM_F_ACK, seq);
	to.generic(command.type, MPTCP_PM_VER);
	to.put(MPTCP_PM_ATTR_TOKEN, command.token);
	if (needs & mask(MPTCP_PM_ATTR_LOC_ID))
		to.put(MPTCP_PM_ATTR_LOC_ID, command.local_id);
	if (needs & mask(MPTCP_PM_ATTR_ADDR))
		write_endpoint(to, MPTCP_PM_ATTR_ADDR,
			       {command.local, command.local_port, command.local_id, flags, command.ifindex, local},
			       true);
	if (needs & mask(MPTCP_PM_ATTR_ADDR_REMOTE))
		write_endpoint(to, MPTCP_PM_ATTR_ADDR_REMOTE,
			       {command.remote, command.remote_port, command.remote_id, 0, 0, remote}, false);
	return to.finish();
}

} // namespace pm::netlink
