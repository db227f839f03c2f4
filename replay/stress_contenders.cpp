// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// All path managers that can be put under stress, and the two that need nothing: none, and the kernel's own.
#include "replay/stress_contender.hpp"

#include <linux/mptcp.h>
#include <net/if.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "replay/daemon.hpp"
#include "replay/endpoints.hpp"
#include "replay/lab.hpp"
#include "replay/mptcpd_setup.hpp"

#include <unistd.h>

namespace pm::replay {

namespace {

class nobody final : public contender {
public:
	expected<void> start() override { return {}; }
};

// Endpoints of every address of the client, for a full mesh: what `ip mptcp endpoint add ... dev ... subflow fullmesh` asks for.
// On their interfaces, as the policies' subflows are: what is only routed may take another path, and is cheaper to open.
class kernels_own final : public contender {
public:
	static constexpr unsigned most_endpoints = 8; // in a namespace

	explicit kernels_own(const contender_options &options) : options_(options) {}

	expected<void> start() override
	{
		auto kernels = endpoints::open();
		if (!kernels)
			return tl::unexpected(kernels.error());
		endpoints_.emplace(std::move(*kernels));
		if (auto set = endpoints_->set_limits(); !set)
			return set;
		for (unsigned path = 0; path < options_.paths; ++path)
			if (auto added = address_changed(path, true); !added)
				return added;
		return {};
	}

	expected<void> address_changed(unsigned path, bool there) override
	{
		const unsigned interface = if_nametoindex(lab::link_name(path).c_str());
		if (interface == 0)
			return fail_errno(fmt::format("cannot find the interface {}", lab::link_name(path)));
		for (const bool ipv6 : {false, true}) {
			if (!(ipv6 ? options_.ipv6 : options_.ipv4))
				continue;
			const pm_addr address = lab::client_address(path, ipv6);
			const auto id = static_cast<std::uint8_t>(1 + 2 * path + ipv6);
			auto done = there ? endpoints_->add(address,
							    MPTCP_PM_ADDR_FLAG_SUBFLOW | MPTCP_PM_ADDR_FLAG_FULLMESH,
							    id, interface)
					  : endpoints_->remove(address, id);
			if (!done)
				return done;
		}
		return {};
	}

	static expected<void> check(const contender_options &options)
	{
		if (options.policy->name != "fullmesh")
			return fail(
				fmt::format("the kernel's own path manager has no counterpart of {}: its endpoints are "
					    "compared with fullmesh",
					    options.policy->name));
		if (options.paths * (options.ipv4 + options.ipv6) > most_endpoints)
			return fail(
				fmt::format("the kernel's own path manager takes {} endpoints, not the {} of {} paths",
					    most_endpoints, options.paths * (options.ipv4 + options.ipv6),
					    options.paths));
		return {};
	}

private:
	contender_options options_;
	std::optional<endpoints> endpoints_;
};

template <class Contender>
std::unique_ptr<contender> make(const contender_options &options)
{
	if constexpr (std::is_default_constructible_v<Contender>)
		return std::make_unique<Contender>();
	else
		return std::make_unique<Contender>(options);
}

expected<void> always(const contender_options &) { return {}; }

expected<void> check_netlink(const contender_options &)
{
	const std::string program = daemon_program();
	if (access(program.c_str(), X_OK) != 0)
		return fail(fmt::format("pm-netlinkd is not there ({}): build it or install it", program));
	return {};
}

expected<void> check_ours(const contender_options &options)
{
	auto there = check_mptcpd();
	return there ? check_plugin(*options.policy) : there;
}

expected<void> check_stock(const contender_options &) { return check_mptcpd(); }

constexpr contender_info all[] = {
	{"none", "no path manager: the floor", false, false, make<nobody>, always},
	{"kernel", "the kernel's own, with endpoints", true, false, make<kernels_own>, kernels_own::check},
	{"mptcpd-stock", "mptcpd as it comes, with its plugin sspi", true, true, make_mptcpd_stock_contender,
	 check_stock},
	{"mptcpd", "mptcpd with our plugin", true, true, make_mptcpd_contender, check_ours},
	{"netlink", "pm-netlinkd", true, true, make_netlink_contender, check_netlink},
	{"ringbuf", "pm-netlinkd, events by a ring buffer", true, true, make_ringbuf_contender, check_ringbuf},
	{"bpf", "the policy in the kernel", true, true, make_bpf_contender, check_bpf},
};

} // namespace

expected<void> contender::address_changed(unsigned, bool) { return {}; }

std::optional<std::uint64_t> contender::cpu_ns() const
{
	return process() ? std::optional<std::uint64_t>{process()->cpu_ns()} : std::nullopt;
}

std::optional<std::uint64_t> contender::memory_kib() const
{
	return process() ? std::optional<std::uint64_t>{process()->memory_kib()} : std::nullopt;
}

std::span<const contender_info> contenders() noexcept { return all; }

expected<const contender_info *> find_contender(std::string_view name)
{
	std::vector<std::string_view> names;
	for (const contender_info &each : all) {
		if (each.name == name)
			return &each;
		names.push_back(each.name);
	}
	return fail_usage(fmt::format("there is no backend '{}'; there are: {}", name, fmt::join(names, ", ")));
}

} // namespace pm::replay
