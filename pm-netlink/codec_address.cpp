// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Local addresses as NETLINK_ROUTE tells of them, from and to bytes; the part of codec.hpp that is not generic netlink.
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "pm-core/address.hpp"
#include "pm-netlink/codec.hpp"
#include "pm-netlink/wire.hpp"

namespace pm::netlink {
namespace {

using wire::unknown;

constexpr std::array<std::uint8_t, IFA_FLAGS + 1> ipv4_lengths = {
	unknown, 4, 4, unknown, unknown, unknown, unknown, unknown, 4,
};
constexpr std::array<std::uint8_t, IFA_FLAGS + 1> ipv6_lengths = {
	unknown, 16, 16, unknown, unknown, unknown, unknown, unknown, 4,
};

bool can_start_a_path(const pm_addr &address) noexcept
{
	const pm_u8 *b = address.bytes;
	if (is_ipv4(address))
		return b[12] != 127 && !(b[12] == 169 && b[13] == 254); // RFC 1122, 3.2.1.3; RFC 3927
	pm_addr loopback{};
	loopback.bytes[15] = 1;
	return !same(address, loopback) && !(b[0] == 0xfe && (b[1] & 0xc0) == 0x80); // RFC 4291, 2.5.3 and 2.5.6
}

} // namespace

tl::expected<pm_event, refusal> decode_address(bytes message) noexcept
{
	const auto length = wire::first_message(message);
	if (!length)
		return tl::unexpected(refusal::truncated);
	const auto header = wire::load<nlmsghdr>(message.data());
	if (header.nlmsg_type != RTM_NEWADDR && header.nlmsg_type != RTM_DELADDR)
		return tl::unexpected(refusal::foreign);
	if (*length < NLMSG_HDRLEN + sizeof(ifaddrmsg))
		return tl::unexpected(refusal::truncated);
	const auto about = wire::load<ifaddrmsg>(message.data() + NLMSG_HDRLEN);
	if (about.ifa_family != AF_INET && about.ifa_family != AF_INET6)
		return tl::unexpected(refusal::foreign);

	const bool four = about.ifa_family == AF_INET;
	wire::attribute_table<IFA_FLAGS + 1> attributes;
	const bytes rest = message.subspan(NLMSG_HDRLEN + sizeof about, *length - NLMSG_HDRLEN - sizeof about);
	if (const auto failed = attributes.read(rest, four ? ipv4_lengths : ipv6_lengths))
		return tl::unexpected(*failed);
	// On a point-to-point interface IFA_ADDRESS is the peer's.
	const unsigned at = attributes.has(IFA_LOCAL) ? IFA_LOCAL : IFA_ADDRESS;
	if (!attributes.has(at))
		return tl::unexpected(refusal::missing_attribute);

	pm_event event{};
	const bool added = header.nlmsg_type == RTM_NEWADDR;
	event.type = added ? PM_LOCAL_ADDED : PM_LOCAL_REMOVED;
	event.seq = header.nlmsg_seq;
	event.ifindex = about.ifa_index;
	event.has_local = 1;
	event.local = four ? ipv4(0, 0, 0, 0) : pm_addr{};
	std::memcpy(event.local.bytes + (four ? 12 : 0), attributes.payload(at).data(), attributes.payload(at).size());

	// The eight bits of the header are the oldest flags only.
	const bool wide = attributes.has(IFA_FLAGS);
	const std::uint32_t flags = wide ? attributes.value<std::uint32_t>(IFA_FLAGS) : about.ifa_flags;
	if (about.ifa_scope >= RT_SCOPE_LINK || !can_start_a_path(event.local))
		return tl::unexpected(refusal::foreign);
	if (added && (flags & (IFA_F_TENTATIVE | IFA_F_DEPRECATED)))
		return tl::unexpected(refusal::foreign);
	return event;
}

std::size_t encode_address(const pm_event &event, std::span<std::byte> out) noexcept
{
	if ((event.type != PM_LOCAL_ADDED && event.type != PM_LOCAL_REMOVED) || !event.has_local)
		return 0;
	const bool four = is_ipv4(event.local);
	ifaddrmsg about{};
	about.ifa_family = four ? AF_INET : AF_INET6;
	about.ifa_prefixlen = four ? 32 : 128;
	about.ifa_scope = RT_SCOPE_UNIVERSE;
	about.ifa_index = event.ifindex;

	wire::message_writer to(out, event.type == PM_LOCAL_ADDED ? RTM_NEWADDR : RTM_DELADDR, 0, event.seq);
	to.append(&about, sizeof about);
	const pm_u8 *address = event.local.bytes + (four ? 12 : 0);
	const std::size_t size = four ? 4 : 16;
	to.put(IFA_ADDRESS, address, size);
	if (four)
		to.put(IFA_LOCAL, address, size);
	return to.finish();
}

} // namespace pm::netlink
