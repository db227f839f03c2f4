// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "replay/backend.hpp"

namespace pm::replay {

namespace {

constexpr backend_info table[] = {
	{"mptcpd-stock", "real generic netlink into the packaged mptcpd with its own plugin sspi",
	 &make_mptcpd_stock_backend},
	{"mptcpd", "the same mptcpd with our plugin, the policy in it", &make_mptcpd_backend},
	{"netlink", "real generic netlink into our reader, the policy in userspace", &make_netlink_backend},
	{"bpf", "the policy as BPF in the kernel, called through test runs", &make_bpf_backend, true},
	{"native", "the policy called directly: the oracle, which loses nothing", &make_native_backend,
	 true},
};

} // namespace

std::span<const backend_info> backends() noexcept { return table; }

expected<const backend_info *> find_backend(std::string_view name)
{
	std::vector<std::string_view> names;
	for (const backend_info &backend : table) {
		if (backend.name == name)
			return &backend;
		names.push_back(backend.name);
	}
	return fail_usage(fmt::format("there is no backend '{}'; these exist: {}", name, fmt::join(names, ", ")));
}

} // namespace pm::replay
