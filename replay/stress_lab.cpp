// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The namespaces of a stress run, and how many subflows a policy plans in them.
#include "replay/stress_lab.hpp"

#include <linux/mptcp.h>

#include "pm-core/address.hpp"
#include "pm-netlink/manager.hpp"
#include "replay/endpoints.hpp"
#include "replay/links.hpp"
#include "replay/stress_runner.hpp"

namespace pm::replay {

namespace {

// Over IPv6, a subflow that is bound to an interface needs a route through it, also to the server's addresses on other links.
expected<void> add_routes(const stress_load &load)
{
	constexpr unsigned metric = 2048; // behind those of the links' own subnets
	auto here = links::open();
	if (!here)
		return tl::unexpected(here.error());
	for (unsigned through = 0; through < load.paths; ++through)
		for (unsigned to = 0; to < load.paths; ++to) {
			if (to == through)
				continue;
			auto added = here->add_route(lab::link_name(through), lab::server_address(to, true),
						     lab::server_address(through, true), metric + through);
			if (!added)
				return added;
		}
	return {};
}

} // namespace

expected<lab> build_stress_lab(const stress_load &load)
{
	auto made = lab::create({.paths = load.paths, .endpoints = false, .announce = false});
	if (!made)
		return made;
	auto served = in_namespace(made->server, [&]() -> expected<void> {
		const auto kernels = endpoints::open();
		if (!kernels)
			return tl::unexpected(kernels.error());
		if (auto set = kernels->set_limits(); !set)
			return set;
		for (unsigned path = 1; path <= load.announced; ++path)
			for (const bool ipv6 : {false, true})
				if (ipv6 ? load.ipv6 : load.ipv4)
					if (auto added = kernels->add(lab::server_address(path, ipv6),
								      MPTCP_PM_ADDR_FLAG_SIGNAL);
					    !added)
						return added;
		return {};
	});
	if (!served)
		return tl::unexpected(served.error());
	if (load.ipv6)
		if (auto routed = in_namespace(made->client, [&] { return add_routes(load); }); !routed)
			return tl::unexpected(routed.error());
	if (load.delay_us == 0 && load.megabits == 0)
		return made;
	for (const netns *where : {&made->client, &made->server}) {
		auto shaped = in_namespace(*where, [&]() -> expected<void> {
			auto here = links::open();
			if (!here)
				return tl::unexpected(here.error());
			for (unsigned path = 0; path < load.paths; ++path)
				if (auto done = here->shape(lab::link_name(path), load.delay_us, load.megabits); !done)
					return done;
			return {};
		});
		if (!shaped)
			return tl::unexpected(shaped.error());
	}
	return made;
}

// The policy itself says so, of a connection that it is told of.
unsigned planned_subflows(const stress_run_options &options, bool ipv6, unsigned client_paths)
{
	manager oracle(*options.policy, options.settings, 1);
	unsigned opened = 0;
	const auto tell = [&](const pm_event &event) {
		oracle.handle(event, [&](const pm_result &result) {
			for (unsigned i = 0; i < result.commands; ++i)
				opened += result.command[i].type == PM_OPEN_SUBFLOW;
		});
	};
	for (unsigned path = 0; path < client_paths; ++path)
		for (const bool of_ipv6 : {false, true}) {
			pm_event added{};
			added.type = PM_LOCAL_ADDED;
			added.has_local = 1;
			added.local = lab::client_address(path, of_ipv6);
			added.ifindex = path + 2;
			tell(added);
		}
	pm_event event{};
	event.token = 1;
	event.flags = ipv6 ? 0 : PM_IPV4_SOCKET;
	event.has_local = event.has_remote = 1;
	event.local = lab::client_address(0, ipv6);
	event.remote = lab::server_address(0, ipv6);
	event.local_port = 40000;
	event.remote_port = load_port;
	for (const pm_event_type type : {PM_CREATED, PM_ESTABLISHED}) {
		event.type = type;
		tell(event);
	}
	const stress_load &load = options.plan->load;
	for (unsigned path = 1; path <= load.announced; ++path)
		for (const bool of_ipv6 : {false, true}) {
			if (!(of_ipv6 ? load.ipv6 : load.ipv4))
				continue;
			pm_event announced{};
			announced.type = PM_ANNOUNCED;
			announced.token = 1;
			announced.has_remote = 1;
			announced.remote = lab::server_address(path, of_ipv6);
			announced.remote_id = static_cast<u8>(1 + 2 * path + of_ipv6);
			tell(announced);
		}
	return opened;
}

} // namespace pm::replay
