// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-bpf/refusals.hpp"

#include <cerrno>

#include "pm-bpf/pidns.hpp"
#include "pm-bpf/quiet.hpp"
#include "pm-bpf/refusals.skel.h"

namespace pm::bpf {

void refusal_counter::closer::operator()(refusals_bpf *skeleton) const noexcept { refusals_bpf__destroy(skeleton); }

expected<refusal_counter> refusal_counter::attach(pid_t process)
{
	const quiet_libbpf quiet;
	std::unique_ptr<refusals_bpf, closer> skeleton{refusals_bpf__open()};
	if (!skeleton)
		return fail_errno("cannot open the BPF object that counts refused commands");
	skeleton->rodata->pm_process = static_cast<unsigned>(process);
	say_pid_namespace(*skeleton->rodata);
	int error = refusals_bpf__load(skeleton.get());
	if (error == 0)
		error = refusals_bpf__attach(skeleton.get());
	if (error != 0) {
		errno = -error;
		return fail_errno("cannot count the commands of mptcpd by a BPF program on the tracepoint "
				  "netlink:netlink_extack (run "
				  "as root, or with CAP_BPF and CAP_PERFMON)");
	}
	return refusal_counter{std::move(skeleton)};
}

std::uint64_t refusal_counter::count() const noexcept
{
	return __atomic_load_n(&skeleton_->bss->pm_refused, __ATOMIC_RELAXED);
}

} // namespace pm::bpf
