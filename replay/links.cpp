// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/links.hpp"

#include <linux/if_addr.h>
#include <net/if.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>

#include <fmt/format.h>

#include "pm-core/address.hpp"

namespace pm::replay {

namespace {

using nl_address = std::unique_ptr<nl_addr, nl_release<nl_addr_put>>;
using route_link = std::unique_ptr<rtnl_link, nl_release<rtnl_link_put>>;
using route_veth = std::unique_ptr<rtnl_link, nl_release<rtnl_link_veth_release>>;
using route_address = std::unique_ptr<rtnl_addr, nl_release<rtnl_addr_put>>;

route_address make_address(const std::string &link, const pm_addr &address, links::prefix length)
{
	const bool v4 = is_ipv4(address);
	const nl_address local(
		nl_addr_build(v4 ? AF_INET : AF_INET6, v4 ? address.bytes + 12 : address.bytes, v4 ? 4 : 16));
	route_address entry(rtnl_addr_alloc());
	if (!local || !entry)
		return nullptr;
	if (length == links::prefix::subnet)
		nl_addr_set_prefixlen(local.get(), v4 ? 24 : 64);
	else
		nl_addr_set_prefixlen(local.get(), v4 ? 32 : 128);
	rtnl_addr_set_ifindex(entry.get(), static_cast<int>(if_nametoindex(link.c_str())));
	rtnl_addr_set_local(entry.get(), local.get());
	if (!v4)
		rtnl_addr_set_flags(entry.get(),
				    IFA_F_NODAD); // else it is tentative, and of no use, for a second or two
	return entry;
}

} // namespace

expected<links> links::open()
{
	auto socket = connect_netlink(NETLINK_ROUTE);
	if (!socket)
		return tl::unexpected(socket.error());
	return links{std::move(*socket)};
}

expected<void> links::add_veth(const std::string &name, const std::string &peer, const netns *there)
{
	const route_veth link(rtnl_link_veth_alloc());
	if (!link)
		return fail("cannot allocate a link: out of memory");
	rtnl_link *other = rtnl_link_veth_get_peer(link.get());
	const route_link other_reference(other); // which the call above took
	rtnl_link_set_name(link.get(), name.c_str());
	rtnl_link_set_name(other, peer.c_str());
	if (there)
		rtnl_link_set_ns_fd(other, there->fd());
	const int rc = rtnl_link_add(socket_.get(), link.get(), NLM_F_CREATE | NLM_F_EXCL);
	if (rc == -NLE_OPNOTSUPP)
		return fail(
			"cannot create a veth pair: this kernel has no veth devices; load or build the module veth");
	if (rc < 0)
		return fail_nl("cannot create a veth pair", rc);
	return {};
}

expected<void> links::bring_up(const std::string &name) { return bring(name, true); }
expected<void> links::bring_down(const std::string &name) { return bring(name, false); }

expected<void> links::bring(const std::string &name, bool up)
{
	rtnl_link *found = nullptr;
	if (const int rc = rtnl_link_get_kernel(socket_.get(), 0, name.c_str(), &found); rc < 0)
		return fail_nl("cannot find link " + name, rc);
	const route_link link(found), change(rtnl_link_alloc());
	if (!change)
		return fail("cannot allocate a link: out of memory");
	(up ? rtnl_link_set_flags : rtnl_link_unset_flags)(change.get(), IFF_UP);
	if (const int rc = rtnl_link_change(socket_.get(), link.get(), change.get(), 0); rc < 0)
		return fail_nl(fmt::format("cannot bring {} link {}", up ? "up" : "down", name), rc);
	return {};
}

expected<void> links::add_address(const std::string &name, const pm_addr &address, prefix length)
{
	const route_address entry = make_address(name, address, length);
	if (!entry)
		return fail("cannot allocate an address: out of memory");
	if (const int rc = rtnl_addr_add(socket_.get(), entry.get(), NLM_F_REPLACE); rc < 0)
		return fail_nl("cannot add an address to link " + name, rc);
	return {};
}

expected<void> links::remove_address(const std::string &name, const pm_addr &address, prefix length)
{
	const route_address entry = make_address(name, address, length);
	if (!entry)
		return fail("cannot allocate an address: out of memory");
	if (const int rc = rtnl_addr_delete(socket_.get(), entry.get(), 0); rc < 0)
		return fail_nl("cannot remove an address from link " + name, rc);
	return {};
}

} // namespace pm::replay
