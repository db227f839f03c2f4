// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The controller's description of `mptcp_pm`: asked for through libnl-genl, read and written here.
#include "pm-netlink/family.hpp"

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <netlink/errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <sys/socket.h>

#include "pm-netlink/wire.hpp"

namespace pm::netlink {
namespace {

using wire::any_length;
using wire::unknown;

constexpr std::uint8_t controller_version = 2;

// CTRL_ATTR_FAMILY_ID, _FAMILY_NAME, _MCAST_GROUPS; and of each group CTRL_ATTR_MCAST_GRP_NAME, _ID.
constexpr std::array<std::uint8_t, CTRL_ATTR_MCAST_GROUPS + 1> family_lengths = {
	unknown, 2, any_length, unknown, unknown, unknown, unknown, any_length,
};
constexpr std::array<std::uint8_t, CTRL_ATTR_MCAST_GRP_ID + 1> group_lengths = {unknown, any_length, 4};

// A string attribute, which ends at its first 0 byte if it has one.
std::string_view text(bytes payload)
{
	const std::string_view whole(reinterpret_cast<const char *>(payload.data()), payload.size());
	return whole.substr(0, whole.find('\0'));
}

// The number of the group named `name`; 0 if it is not listed.
tl::expected<std::uint32_t, refusal> find_group(bytes groups, std::string_view name)
{
	wire::attribute_reader each(groups);
	std::uint32_t found = 0;
	while (each.next()) {
		wire::attribute_table<group_lengths.size()> group;
		if (const auto failed = group.read(each.payload(), group_lengths))
			return tl::unexpected(*failed);
		if (group.has(CTRL_ATTR_MCAST_GRP_NAME) && text(group.payload(CTRL_ATTR_MCAST_GRP_NAME)) == name)
			found = group.value<std::uint32_t>(CTRL_ATTR_MCAST_GRP_ID);
	}
	if (!each.ended())
		return tl::unexpected(refusal::truncated);
	return found;
}

struct libnl_deleter {
	void operator()(nl_sock *socket) const { nl_socket_free(socket); }
	void operator()(nl_msg *message) const { nlmsg_free(message); }
	void operator()(unsigned char *buffer) const { free(buffer); }
};
template <class T>
using libnl_ptr = std::unique_ptr<T, libnl_deleter>;

constexpr std::string_view asked = "asked the kernel for its generic netlink family mptcp_pm";

tl::unexpected<error> fail_libnl(std::string_view what, int code)
{
	return fail(fmt::format("{}, but {}: {}", asked, what, nl_geterror(code)));
}

expected<family> read_answer(bytes answer)
{
	if (wire::first_message(answer) && wire::load<nlmsghdr>(answer.data()).nlmsg_type == NLMSG_ERROR) {
		const bool whole = answer.size() >= sizeof(nlmsghdr) + sizeof(nlmsgerr);
		const int code = whole ? -wire::load<nlmsgerr>(answer.data() + sizeof(nlmsghdr)).error : EPROTO;
		if (code == ENOENT)
			return fail(
				fmt::format("{}, but it has none: a kernel built with CONFIG_MPTCP is needed", asked));
		errno = code;
		return fail_errno(fmt::format("{}, which failed", asked));
	}
	auto found = decode_family(answer);
	if (!found)
		return fail(fmt::format(
			"{}, but cannot read its answer ({}): Linux 5.12 or newer, which has the event group "
			"{}, is needed",
			asked, to_string(found.error()), MPTCP_PM_EV_GRP_NAME));
	return std::move(*found);
}

} // namespace

expected<family> ask_family()
{
	const libnl_ptr<nl_sock> socket(nl_socket_alloc());
	const libnl_ptr<nl_msg> request(nlmsg_alloc());
	if (!socket || !request)
		return fail(fmt::format("{}, but there is no memory", asked));
	if (const int code = genl_connect(socket.get()); code < 0)
		return fail_libnl("cannot open a generic netlink socket", code);
	if (!genlmsg_put(request.get(), NL_AUTO_PORT, NL_AUTO_SEQ, GENL_ID_CTRL, 0, 0, CTRL_CMD_GETFAMILY,
			 controller_version) ||
	    nla_put_string(request.get(), CTRL_ATTR_FAMILY_NAME, MPTCP_PM_NAME) < 0)
		return fail(fmt::format("{}, but there is no memory", asked));
	if (const int code = nl_send_auto(socket.get(), request.get()); code < 0)
		return fail_libnl("cannot send the question", code);

	sockaddr_nl sender{};
	unsigned char *buffer = nullptr;
	int length = 0;
	do { // an answer from another process is none
		free(std::exchange(buffer, nullptr));
		length = nl_recv(socket.get(), &sender, &buffer, nullptr);
	} while (length > 0 && sender.nl_pid != 0);
	const libnl_ptr<unsigned char> owner(buffer);
	if (length <= 0)
		return fail_libnl("got no answer", length);
	return read_answer(std::as_bytes(std::span(buffer, static_cast<std::size_t>(length))));
}

bool is_member(int socket, std::uint32_t group) noexcept
{
	int domain = 0, protocol = 0;
	socklen_t size = sizeof domain;
	if (getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_NETLINK)
		return false;
	size = sizeof protocol;
	if (getsockopt(socket, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) != 0 || protocol != NETLINK_GENERIC)
		return false;
	std::array<std::uint32_t, 32> groups{}; // a bit for each, counted from 1
	size = sizeof groups;
	if (getsockopt(socket, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, groups.data(), &size) != 0)
		return false;
	const std::uint32_t bit = group - 1;
	return bit / 32 < groups.size() && (groups[bit / 32] >> bit % 32 & 1);
}

tl::expected<family, refusal> decode_family(bytes message)
{
	const auto opened = wire::open_generic(message, GENL_ID_CTRL);
	if (!opened)
		return tl::unexpected(opened.error());
	if (opened->command != CTRL_CMD_NEWFAMILY)
		return tl::unexpected(refusal::unknown_type);
	wire::attribute_table<family_lengths.size()> attributes;
	if (const auto failed = attributes.read(opened->attributes, family_lengths))
		return tl::unexpected(*failed);
	if (!attributes.has(CTRL_ATTR_FAMILY_NAME))
		return tl::unexpected(refusal::missing_attribute);
	if (text(attributes.payload(CTRL_ATTR_FAMILY_NAME)) != MPTCP_PM_NAME)
		return tl::unexpected(refusal::foreign);
	if (!attributes.has(CTRL_ATTR_FAMILY_ID) || !attributes.has(CTRL_ATTR_MCAST_GROUPS))
		return tl::unexpected(refusal::missing_attribute);

	family found;
	found.id = attributes.value<std::uint16_t>(CTRL_ATTR_FAMILY_ID);
	if (found.id <= GENL_ID_CTRL)
		return tl::unexpected(refusal::bad_attribute);
	const auto group = find_group(attributes.payload(CTRL_ATTR_MCAST_GROUPS), MPTCP_PM_EV_GRP_NAME);
	if (!group)
		return tl::unexpected(group.error());
	if (*group == 0)
		return tl::unexpected(refusal::missing_attribute);
	found.events_group = *group;
	const bytes whole = message.first(*wire::first_message(message));
	found.description.assign(whole.begin(), whole.end());
	return found;
}

std::vector<std::byte> encode_family(std::uint16_t id, std::uint32_t events_group)
{
	std::vector<std::byte> message(max_message);
	wire::message_writer to(message, GENL_ID_CTRL, 0, 0);
	to.generic(CTRL_CMD_NEWFAMILY, controller_version);
	to.put(CTRL_ATTR_FAMILY_NAME, MPTCP_PM_NAME, sizeof MPTCP_PM_NAME);
	to.put(CTRL_ATTR_FAMILY_ID, id);
	to.put(CTRL_ATTR_VERSION, std::uint32_t{MPTCP_PM_VER});
	to.put(CTRL_ATTR_HDRSIZE, std::uint32_t{0});
	to.put(CTRL_ATTR_MAXATTR, std::uint32_t{0});
	const std::size_t groups = to.open_nest(CTRL_ATTR_MCAST_GROUPS);
	const std::size_t first = to.open_nest(1);
	to.put(CTRL_ATTR_MCAST_GRP_ID, events_group);
	to.put(CTRL_ATTR_MCAST_GRP_NAME, MPTCP_PM_EV_GRP_NAME, sizeof MPTCP_PM_EV_GRP_NAME);
	to.close_nest(first);
	to.close_nest(groups);
	message.resize(to.finish());
	return message;
}

} // namespace pm::netlink
