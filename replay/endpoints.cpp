// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/endpoints.hpp"

#include <linux/mptcp.h>
#include <memory>
#include <netlink/genl/genl.h>
#include <sys/socket.h>

#include "pm-core/address.hpp"
#include "pm-netlink/family.hpp"

namespace pm::replay {

namespace {

using nl_message = std::unique_ptr<nl_msg, nl_release<nlmsg_free>>;

nl_message begin_message(int family, std::uint8_t command)
{
	nl_message message(nlmsg_alloc());
	if (message && !genlmsg_put(message.get(), NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, 0, command, MPTCP_PM_VER))
		message.reset();
	return message;
}

} // namespace

expected<endpoints> endpoints::open()
{
	const auto family = netlink::ask_family();
	if (!family)
		return tl::unexpected(family.error());
	auto socket = connect_netlink(NETLINK_GENERIC);
	if (!socket)
		return tl::unexpected(socket.error());
	return endpoints{std::move(*socket), family->id};
}

expected<void> endpoints::set_limits() const
{
	nl_message message = begin_message(family_, MPTCP_PM_CMD_SET_LIMITS);
	if (!message)
		return fail("cannot set the limits of the kernel's path manager: out of memory");
	nla_put_u32(message.get(), MPTCP_PM_ATTR_RCV_ADD_ADDRS, most_kernel_subflows);
	nla_put_u32(message.get(), MPTCP_PM_ATTR_SUBFLOWS, most_kernel_subflows);
	if (const int rc = nl_send_sync(socket_.get(), message.release()); rc < 0) // which frees it, whatever happens
		return fail_nl("cannot set the limits of the kernel's path manager", rc);
	return {};
}

int endpoints::send(std::uint8_t command, const pm_addr &a, std::uint32_t flags, std::uint8_t id,
		    unsigned interface) const
{
	nl_message message = begin_message(family_, command);
	if (!message)
		return -NLE_NOMEM;
	nlattr *nest = nla_nest_start(message.get(), MPTCP_PM_ATTR_ADDR);
	if (is_ipv4(a)) {
		nla_put_u16(message.get(), MPTCP_PM_ADDR_ATTR_FAMILY, AF_INET);
		nla_put(message.get(), MPTCP_PM_ADDR_ATTR_ADDR4, 4, a.bytes + 12);
	} else {
		nla_put_u16(message.get(), MPTCP_PM_ADDR_ATTR_FAMILY, AF_INET6);
		nla_put(message.get(), MPTCP_PM_ADDR_ATTR_ADDR6, 16, a.bytes);
	}
	if (id)
		nla_put_u8(message.get(), MPTCP_PM_ADDR_ATTR_ID, id);
	if (interface)
		nla_put_u32(message.get(), MPTCP_PM_ADDR_ATTR_IF_IDX, interface);
	nla_put_u32(message.get(), MPTCP_PM_ADDR_ATTR_FLAGS, flags);
	nla_nest_end(message.get(), nest);
	return nl_send_sync(socket_.get(), message.release());
}

expected<void> endpoints::add(const pm_addr &address, std::uint32_t flags, std::uint8_t id, unsigned interface) const
{
	if (const int rc = send(MPTCP_PM_CMD_ADD_ADDR, address, flags, id, interface); rc < 0)
		return fail_nl("cannot add an endpoint to the kernel's path manager", rc);
	return {};
}

expected<void> endpoints::remove(const pm_addr &address, std::uint8_t id) const
{
	if (const int rc = send(MPTCP_PM_CMD_DEL_ADDR, address, 0, id, 0); rc < 0)
		return fail_nl("cannot remove an endpoint from the kernel's path manager", rc);
	return {};
}

} // namespace pm::replay
