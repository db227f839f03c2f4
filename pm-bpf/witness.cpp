// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-bpf/witness.hpp"

#include <cerrno>

#include <bpf/bpf.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include "pm-bpf/pidns.hpp"
#include "pm-bpf/quiet.hpp"
#include "pm-bpf/witness.skel.h"
#include "pm-netlink/family.hpp"

#ifndef SO_ATTACH_BPF
#define SO_ATTACH_BPF 50
#endif

namespace pm::bpf {

namespace {
constexpr const char *no_programs =
	"cannot count events by BPF programs (run as root, or with CAP_BPF and CAP_PERFMON)";
}

void event_witness::closer::operator()(witness_bpf *skeleton) const noexcept { witness_bpf__destroy(skeleton); }

expected<event_witness> event_witness::listen()
{
	const auto family = netlink::ask_family();
	if (!family)
		return tl::unexpected(family.error());
	const quiet_libbpf quiet;
	skeleton programs{witness_bpf__open()};
	if (!programs)
		return fail_errno("cannot open the BPF object that counts events");
	programs->rodata->pm_family = family->id;
	say_pid_namespace(*programs->rodata);
	const int error = witness_bpf__load(programs.get());
	errno = -error;
	if (error != 0)
		return fail_errno(no_programs);
	descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
	sockaddr_nl anywhere{};
	anywhere.nl_family = AF_NETLINK;
	const int filter = bpf_program__fd(programs->progs.pm_count_sent);
	const auto group = static_cast<int>(family->events_group);
	// The filter first: nothing may get in.
	if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_ATTACH_BPF, &filter, sizeof filter) != 0 ||
	    ::bind(socket.get(), reinterpret_cast<const sockaddr *>(&anywhere), sizeof anywhere) != 0 ||
	    ::setsockopt(socket.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0)
		return fail_errno("cannot listen to the path manager's events to count them");
	return event_witness{std::move(programs), std::move(socket)};
}

// Only then does the program see each read on the machine, which costs all of them.
expected<void> event_witness::watch(pid_t process)
{
	const quiet_libbpf quiet;
	if (!skeleton_->links.pm_count_read)
		skeleton_->links.pm_count_read = bpf_program__attach(skeleton_->progs.pm_count_read);
	if (!skeleton_->links.pm_count_read)
		return fail_errno(no_programs);
	__atomic_store_n(&skeleton_->bss->pm_process, static_cast<unsigned>(process), __ATOMIC_RELAXED);
	return {};
}

std::uint64_t event_witness::sent() const noexcept
{
	return __atomic_load_n(&skeleton_->bss->pm_sent, __ATOMIC_RELAXED);
}
std::uint64_t event_witness::read() const noexcept
{
	return __atomic_load_n(&skeleton_->bss->pm_read, __ATOMIC_RELAXED);
}

std::uint64_t event_witness::not_looked_at() const noexcept
{
	bpf_prog_info info{};
	std::uint32_t size = sizeof info;
	const int program = bpf_program__fd(skeleton_->progs.pm_count_read);
	return bpf_prog_get_info_by_fd(program, &info, &size) == 0 ? info.recursion_misses : 0;
}

} // namespace pm::bpf
