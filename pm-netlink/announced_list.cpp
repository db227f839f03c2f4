// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-netlink/announced_list.hpp"

#include <array>
#include <cerrno>

#include <sys/socket.h>

#include "pm-core/address.hpp"
#include "pm-netlink/family.hpp"
#include "pm-netlink/wire.hpp"

namespace pm::netlink {
namespace {

// Not in any distribution's linux/mptcp_pm.h. It is only ever asked to list: no other command of that number can do harm.
constexpr std::uint8_t get_remote_addr = 12; // MPTCP_PM_CMD_GET_REMOTE_ADDR
constexpr std::size_t answer_bytes = 32u << 10;

using wire::any_length;
using wire::unknown;

constexpr auto answer_lengths = [] {
	std::array<std::uint8_t, MPTCP_PM_ATTR_ADDR + 1> lengths{};
	lengths[MPTCP_PM_ATTR_ADDR] = any_length;
	return lengths;
}();
constexpr auto address_lengths = [] {
	std::array<std::uint8_t, MPTCP_PM_ADDR_ATTR_PORT + 1> lengths{};
	lengths[MPTCP_PM_ADDR_ATTR_ID] = 1;
	lengths[MPTCP_PM_ADDR_ATTR_ADDR4] = 4;
	lengths[MPTCP_PM_ADDR_ATTR_ADDR6] = 16;
	lengths[MPTCP_PM_ADDR_ATTR_PORT] = 2;
	return lengths;
}();

} // namespace

std::optional<peers::announcement> decode_announcement(bytes message, std::uint16_t family) noexcept
{
	const auto opened = wire::open_generic(message, family);
	wire::attribute_table<answer_lengths.size()> answer;
	wire::attribute_table<address_lengths.size()> its;
	if (!opened || opened->command != get_remote_addr || answer.read(opened->attributes, answer_lengths) ||
	    its.read(answer.payload(MPTCP_PM_ATTR_ADDR), address_lengths) || !its.has(MPTCP_PM_ADDR_ATTR_ID))
		return std::nullopt;
	const bool four = its.has(MPTCP_PM_ADDR_ATTR_ADDR4);
	if (four == its.has(MPTCP_PM_ADDR_ATTR_ADDR6))
		return std::nullopt;
	const bytes from = its.payload(four ? MPTCP_PM_ADDR_ATTR_ADDR4 : MPTCP_PM_ADDR_ATTR_ADDR6);
	peers::announcement found{.address = four ? ipv4(0, 0, 0, 0) : pm_addr{},
				  .port = its.value<std::uint16_t>(MPTCP_PM_ADDR_ATTR_PORT),
				  .id = its.value<std::uint8_t>(MPTCP_PM_ADDR_ATTR_ID)};
	std::memcpy(found.address.bytes + (four ? 12 : 0), from.data(), from.size());
	return found;
}

expected<announced_list> announced_list::open()
{
	const auto family = ask_family();
	if (!family)
		return tl::unexpected(family.error());
	auto socket = connect_netlink(NETLINK_GENERIC);
	if (!socket)
		return tl::unexpected(socket.error());
	return announced_list(std::move(*socket), family->id);
}

bool announced_list::ask(std::uint32_t token)
{
	std::array<std::byte, 64> memory;
	wire::message_writer message(memory, family_, NLM_F_REQUEST | NLM_F_DUMP, ++seq_);
	message.generic(get_remote_addr, MPTCP_PM_VER);
	message.put(MPTCP_PM_ATTR_TOKEN, token);
	sockaddr_nl kernel{};
	kernel.nl_family = AF_NETLINK;
	return sendto(nl_socket_get_fd(socket_.get()), memory.data(), message.finish(), MSG_DONTWAIT,
		      reinterpret_cast<const sockaddr *>(&kernel), sizeof kernel) > 0;
}

std::optional<std::vector<peers::announcement>> announced_list::of(std::uint32_t token)
{
	if (!kept_ || !ask(token))
		return std::nullopt;
	std::vector<peers::announcement> found;
	std::array<std::byte, answer_bytes> memory;
	for (;;) {
		sockaddr_nl sender{};
		socklen_t length = sizeof sender;
		// While it is asked, the kernel writes the first part of its answer, and each further one while that before
		// is read.
		const ssize_t size = recvfrom(nl_socket_get_fd(socket_.get()), memory.data(), memory.size(), MSG_DONTWAIT,
					      reinterpret_cast<sockaddr *>(&sender), &length);
		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0)
			return std::nullopt;
		if (sender.nl_pid != 0)
			continue; // anyone may send us anything, and only the kernel knows
		bytes rest(memory.data(), static_cast<std::size_t>(size));
		while (const auto whole = wire::first_message(rest)) {
			const bytes message = rest.first(*whole);
			rest = rest.subspan(std::min(wire::align(*whole), rest.size()));
			const auto header = wire::load<nlmsghdr>(message.data());
			if (header.nlmsg_seq != seq_)
				continue; // of a question that was given up
			if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
				// Both begin with a negative errno or 0.
				const bool has_code = message.size() >= NLMSG_HDRLEN + sizeof(int);
				const int code = has_code ? wire::load<int>(message.data() + NLMSG_HDRLEN) : -EBADMSG;
				kept_ = code != -EOPNOTSUPP;
				return code == 0 ? std::optional{std::move(found)} : std::nullopt;
			}
			if (const auto one = decode_announcement(message, family_))
				found.push_back(*one);
		}
	}
}

} // namespace pm::netlink
