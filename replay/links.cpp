// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/links.hpp"

#include <linux/if_addr.h>
#include <net/if.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/netem.h>
#include <netlink/route/qdisc/tbf.h>
#include <netlink/route/route.h>
#include <netlink/route/tc.h>

#include <fmt/format.h>

#include "pm-core/address.hpp"

namespace pm::replay {

namespace {

using nl_address = std::unique_ptr<nl_addr, nl_release<nl_addr_put>>;
using route_link = std::unique_ptr<rtnl_link, nl_release<rtnl_link_put>>;
using route_veth = std::unique_ptr<rtnl_link, nl_release<rtnl_link_veth_release>>;
using route_entry = std::unique_ptr<rtnl_route, nl_release<rtnl_route_put>>;
using route_qdisc = std::unique_ptr<rtnl_qdisc, nl_release<rtnl_qdisc_put>>;
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

namespace {

route_qdisc make_qdisc(const std::string &link, std::uint32_t parent, std::uint32_t handle, const char *kind)
{
	route_qdisc made(rtnl_qdisc_alloc());
	if (!made)
		return nullptr;
	rtnl_tc_set_ifindex(TC_CAST(made.get()), static_cast<int>(if_nametoindex(link.c_str())));
	rtnl_tc_set_parent(TC_CAST(made.get()), parent);
	rtnl_tc_set_handle(TC_CAST(made.get()), handle);
	return rtnl_tc_set_kind(TC_CAST(made.get()), kind) == 0 ? std::move(made) : nullptr;
}

} // namespace

expected<void> links::add_route(const std::string &name, const pm_addr &subnet, const pm_addr &gateway, unsigned metric)
{
	const nl_address to(nl_addr_build(AF_INET6, subnet.bytes, 16)), by(nl_addr_build(AF_INET6, gateway.bytes, 16));
	const route_entry route(rtnl_route_alloc());
	rtnl_nexthop *hop = rtnl_route_nh_alloc();
	if (!to || !by || !route || !hop)
		return fail("cannot allocate a route: out of memory");
	nl_addr_set_prefixlen(to.get(), 64);
	rtnl_route_nh_set_ifindex(hop, static_cast<int>(if_nametoindex(name.c_str())));
	rtnl_route_nh_set_gateway(hop, by.get());
	rtnl_route_set_family(route.get(), AF_INET6);
	rtnl_route_set_dst(route.get(), to.get());
	rtnl_route_set_priority(route.get(), metric);
	rtnl_route_add_nexthop(route.get(), hop); // which frees it with the route
	if (const int rc = rtnl_route_add(socket_.get(), route.get(), NLM_F_CREATE | NLM_F_APPEND); rc < 0)
		return fail_nl("cannot add a route through link " + name, rc);
	return {};
}

// The bandwidth first: what it lets through is then put off.
expected<void> links::shape(const std::string &name, unsigned delay_us, unsigned megabits)
{
	constexpr int burst_bytes = 128 << 10, waiting_us = 100'000, delayed_packets = 100'000;
	std::uint32_t parent = TC_H_ROOT;
	const auto add = [&](const route_qdisc &qdisc, const char *what) -> expected<void> {
		if (const int rc = rtnl_qdisc_add(socket_.get(), qdisc.get(), NLM_F_CREATE | NLM_F_REPLACE); rc < 0)
			return fail_nl(fmt::format("cannot give link {} {}", name, what), rc);
		return {};
	};
	if (megabits > 0) {
		const route_qdisc limit = make_qdisc(name, parent, TC_HANDLE(1, 0), "tbf");
		if (!limit)
			return fail("cannot allocate a queueing discipline: out of memory");
		rtnl_qdisc_tbf_set_rate(limit.get(), static_cast<int>(megabits * 125'000), burst_bytes, 0);
		rtnl_qdisc_tbf_set_limit_by_latency(limit.get(), waiting_us);
		if (auto added = add(limit, "a bandwidth (the kernel's tbf)"); !added)
			return added;
		parent = TC_HANDLE(1, 1);
	}
	if (delay_us > 0) {
		const route_qdisc delay = make_qdisc(name, parent, TC_HANDLE(2, 0), "netem");
		if (!delay)
			return fail("cannot allocate a queueing discipline: out of memory");
		rtnl_netem_set_delay(delay.get(), static_cast<int>(delay_us));
		rtnl_netem_set_limit(delay.get(), delayed_packets);
		if (auto added = add(delay, "a delay (the kernel's netem: CONFIG_NET_SCH_NETEM)"); !added)
			return added;
	}
	return {};
}

} // namespace pm::replay
