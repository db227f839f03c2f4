// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-bpf/arrivals.hpp"

#include <cerrno>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <net/if.h>

#include "pm-bpf/arrivals.h"
#include "pm-bpf/arrivals.skel.h"
#include "pm-bpf/quiet.hpp"

namespace pm::bpf {

namespace {

// The place before everything else that comes in, which is made for one program and goes with it.
bpf_tc_hook entrance_of(const std::string &interface)
{
	bpf_tc_hook hook{};
	hook.sz = sizeof hook;
	hook.ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
	hook.attach_point = BPF_TC_INGRESS;
	return hook;
}

// Older kernels have only this.
expected<void> attach_to_qdisc(const std::string &interface, const bpf_program *program)
{
	bpf_tc_hook hook = entrance_of(interface);
	bpf_tc_opts options{};
	options.sz = sizeof options;
	options.prog_fd = bpf_program__fd(program);
	int error = bpf_tc_hook_create(&hook);
	if (error == 0)
		error = bpf_tc_attach(&hook, &options);
	errno = -error;
	return error == 0 ? expected<void>{} : fail_errno(fmt::format("cannot note what arrives at {}", interface));
}

} // namespace

void arrivals::unlinker::operator()(bpf_link *link) const noexcept { bpf_link__destroy(link); }
void arrivals::closer::operator()(arrivals_bpf *skeleton) const noexcept { arrivals_bpf__destroy(skeleton); }

expected<arrivals> arrivals::load(const sample &what)
{
	const quiet_libbpf quiet;
	skeleton programs{arrivals_bpf__open()};
	if (!programs)
		return fail_errno("cannot open the BPF object that notes what arrives");
	programs->rodata->pm_port = what.server_port;
	programs->rodata->pm_port_every = what.port_every;
	programs->rodata->pm_token_every = what.token_every;
	int error = bpf_map__set_max_entries(programs->maps.pm_confirmed, PM_CONFIRMATIONS / what.port_every);
	if (error == 0)
		error = bpf_map__set_max_entries(programs->maps.pm_joined, what.joins);
	if (error == 0)
		error = arrivals_bpf__load(programs.get());
	errno = -error;
	if (error != 0)
		return fail_errno("cannot note by BPF programs what arrives (run as root, or with CAP_BPF and CAP_NET_ADMIN)");
	return arrivals{std::move(programs)};
}

// By a link where the kernel has them (6.6): the way through it is half as long.
expected<void> arrivals::attach(const std::string &interface, const bpf_program *program)
{
	const quiet_libbpf quiet;
	bpf_link *link = bpf_program__attach_tcx(program, entrance_of(interface).ifindex, nullptr);
	if (!link)
		return attach_to_qdisc(interface, program);
	links_.emplace_back(link);
	return {};
}

expected<void> arrivals::attach_client(const std::string &interface)
{
	return attach(interface, skeleton_->progs.pm_note_confirmation);
}

expected<void> arrivals::attach_server(const std::string &interface)
{
	return attach(interface, skeleton_->progs.pm_note_join);
}

void arrivals::detach(const std::string &interface) noexcept
{
	const quiet_libbpf quiet;
	bpf_tc_hook hook = entrance_of(interface);
	hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS); // all of it
	(void)bpf_tc_hook_destroy(&hook);
}

std::optional<std::uint64_t> arrivals::confirmed(std::uint16_t client_port, bool ipv6) const noexcept
{
	const std::uint32_t every = skeleton_->rodata->pm_port_every, place = pm_place_of_confirmation(client_port, every, ipv6);
	pm_confirmation found{};
	if (client_port % every != 0 ||
	    bpf_map__lookup_elem(skeleton_->maps.pm_confirmed, &place, sizeof place, &found, sizeof found, 0) != 0 ||
	    found.time == 0)
		return std::nullopt;
	return found.time;
}

std::optional<std::uint64_t> arrivals::joined(std::uint32_t server_token) const noexcept
{
	std::uint64_t time = 0;
	if (bpf_map__lookup_elem(skeleton_->maps.pm_joined, &server_token, sizeof server_token, &time, sizeof time, 0) != 0)
		return std::nullopt;
	return time;
}

std::uint64_t arrivals::not_noted() const noexcept
{
	return __atomic_load_n(&skeleton_->bss->pm_not_noted, __ATOMIC_RELAXED);
}

} // namespace pm::bpf
