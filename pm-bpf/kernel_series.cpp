// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-bpf/kernel_series.hpp"

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include <bpf/btf.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/capability.h>
#include <sys/capability.h>

#include "pm-bpf/quiet.hpp"

namespace pm::bpf {

namespace {

bool has_member(const btf *types, const char *type, const char *member)
{
	const auto id = btf__find_by_name_kind(types, type, BTF_KIND_STRUCT);
	const btf_type *found = id > 0 ? btf__type_by_id(types, static_cast<unsigned>(id)) : nullptr;
	for (unsigned i = 0; found && i < btf_vlen(found); ++i)
		if (std::strcmp(btf__name_by_offset(types, btf_members(found)[i].name_off), member) == 0)
			return true;
	return false;
}

} // namespace

expected<void> check_kernel()
{
	const quiet_libbpf quiet;
	const std::unique_ptr<btf, decltype(&btf__free)> types(btf__load_vmlinux_btf(), btf__free);
	if (!types && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
		return fail_errno("cannot read the kernel's types from /sys/kernel/btf/vmlinux");
	if (!types)
		return fail("this kernel does not describe its types (there is no /sys/kernel/btf/vmlinux), without "
			    "which no "
			    "policy can be attached: boot one built with CONFIG_DEBUG_INFO_BTF, or use `pm-netlinkd`");
	if (!has_member(types.get(), "mptcp_pm_ops", "work"))
		return fail("this kernel's mptcp_pm_ops has no BPF callbacks: boot one with kernel-patches/ applied, "
			    "`./run vm`, or use `pm-netlinkd`");
	for (const char *function : {"bpf_mptcp_subflow_connect", "bpf_mptcp_local_addr_seq"})
		if (btf__find_by_name_kind(types.get(), function, BTF_KIND_FUNC) < 0)
			return fail(fmt::format("this kernel's path managers in BPF lack {}(): boot one with all of "
						"this version's kernel-patches/ applied, `./run vm`",
						function));
	return {};
}

expected<void> check_privileges()
{
	struct capability {
		cap_value_t value;
		const char *name;
	};
	// PERFMON: the programs see the kernel's sockets. SYS_ADMIN: to enter network namespaces.
	static constexpr capability wanted[] = {{CAP_BPF, "CAP_BPF"},
						{CAP_PERFMON, "CAP_PERFMON"},
						{CAP_NET_ADMIN, "CAP_NET_ADMIN"},
						{CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}};
	const std::unique_ptr<_cap_struct, int (*)(void *)> own(cap_get_proc(), cap_free);
	std::vector<const char *> missing;
	for (const capability &each : wanted) {
		cap_flag_value_t has = CAP_CLEAR;
		if (!own || cap_get_flag(own.get(), each.value, CAP_EFFECTIVE, &has) != 0 || has != CAP_SET)
			missing.push_back(each.name);
	}
	if (!missing.empty())
		return fail(fmt::format("attached policies take root, or the capabilities that this process lacks: {}",
					fmt::join(missing, ", ")));
	return {};
}

} // namespace pm::bpf
