// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-bpf/event_ring.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pm-bpf/events.skel.h"
#include "pm-bpf/quiet.hpp"
#include "pm-netlink/clock.hpp"
#include "pm-netlink/family.hpp"
#include "pm-netlink/netns.hpp"

namespace pm::bpf {

namespace {

constexpr std::size_t header_bytes = 8; // of a record in a ring buffer

} // namespace

struct event_ring::impl {
	events_bpf *skeleton = nullptr;
	ring_buffer *ring = nullptr;
	descriptor listener; // see listen()
	netlink::event_counters counted;
	const handler *handle = nullptr; // while read() runs
	std::size_t read = 0, most = 0;
	std::uint64_t missed = 0, asked_ns = 0; // see look_for_missed()

	// The kernel does not run a program that it is running already: an event that interrupts another one of its kind on
	// the same processor is not heard of, in whichever namespace.
	void look_for_missed()
	{
		constexpr std::uint64_t seldom_ns = 20'000'000;
		if (const std::uint64_t now = now_ns(); now - asked_ns < seldom_ns)
			return;
		else
			asked_ns = now;
		missed = 0;
		bpf_program *program = nullptr;
		bpf_object__for_each_program(program, skeleton->obj)
		{
			bpf_prog_info info{};
			std::uint32_t size = sizeof info;
			if (bpf_prog_get_info_by_fd(bpf_program__fd(program), &info, &size) == 0)
				missed += info.recursion_misses;
		}
	}

	~impl()
	{
		ring_buffer__free(ring);
		events_bpf__destroy(skeleton);
	}

	static int take(void *self, void *record, std::size_t size) noexcept
	{
		auto &me = *static_cast<impl *>(self);
		if (size < sizeof(pm_event))
			return 0;
		++me.counted.delivered;
		(*me.handle)(*static_cast<const pm_event *>(record));
		return ++me.read < me.most ? 0 : -EAGAIN; // this record is read; the next one is not
	}
};

namespace {

// The kernel takes joins and addresses only while somebody is in the multicast group. This socket is, and takes nothing: a
// filter drops every message before it is queued.
expected<descriptor> listen()
{
	const auto family = netlink::ask_family();
	if (!family)
		return tl::unexpected(family.error());
	descriptor socket{::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC)};
	sock_filter drop_all = {BPF_RET | BPF_K, 0, 0, 0};
	const sock_fprog filter{1, &drop_all};
	const int group = static_cast<int>(family->events_group);
	if (!socket || setsockopt(socket.get(), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0 ||
	    setsockopt(socket.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0)
		return fail_errno("cannot join the path manager's multicast group, without which the kernel takes no "
				  "joins");
	return socket;
}

} // namespace

event_ring::event_ring(std::unique_ptr<impl> made) : impl_(std::move(made)) {}
event_ring::~event_ring() = default;

expected<std::unique_ptr<event_ring>> event_ring::open(std::size_t bytes)
{
	auto made = std::make_unique<impl>();
	auto listening = listen();
	if (!listening)
		return tl::unexpected(listening.error());
	made->listener = std::move(*listening);
	std::uint64_t cookie = 0;
	socklen_t length = sizeof cookie;
	if (getsockopt(made->listener.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0)
		return fail_errno("cannot read the cookie of the network namespace (SO_NETNS_COOKIE)");
	const quiet_libbpf quiet;
	made->skeleton = events_bpf__open();
	if (!made->skeleton)
		return fail_errno("cannot open the BPF object that reads events");
	made->skeleton->rodata->pm_netns_cookie = cookie;
	const auto size = static_cast<std::uint32_t>(std::bit_ceil(std::max<std::size_t>(bytes, 4096)));
	bpf_map__set_max_entries(made->skeleton->maps.pm_ring, size);
	int error = events_bpf__load(made->skeleton);
	if (error == 0)
		error = events_bpf__attach(made->skeleton);
	if (error != 0) {
		errno = -error;
		return fail_errno(
			"cannot trace the path manager's events (fentry, for which the kernel needs BTF, ftrace "
			"and MPTCP built in; run as root, or with CAP_BPF and CAP_PERFMON); use netlink events "
			"instead");
	}
	made->ring = ring_buffer__new(bpf_map__fd(made->skeleton->maps.pm_ring), &impl::take, made.get(), nullptr);
	if (!made->ring)
		return fail_errno("cannot read the ring buffer of events");
	made->counted.buffer_bytes = size;
	return std::unique_ptr<event_ring>{new event_ring{std::move(made)}};
}

int event_ring::fd() const noexcept { return ring_buffer__epoll_fd(impl_->ring); }

expected<std::size_t> event_ring::read(const handler &handle, std::size_t most)
{
	if (most == 0)
		return 0;
	impl_->handle = &handle;
	impl_->read = 0;
	impl_->most = most;
	const int got = ring_buffer__consume(impl_->ring);
	if (got < 0 && got != -EAGAIN) {
		errno = -got;
		return fail_errno("cannot read the ring buffer of events");
	}
	return impl_->read;
}

const netlink::event_counters &event_ring::counters()
{
	impl_->look_for_missed();
	impl_->counted.lost = __atomic_load_n(&impl_->skeleton->bss->pm_lost, __ATOMIC_RELAXED) + impl_->missed;
	impl_->counted.buffer_used = ring__avail_data_size(ring_buffer__ring(impl_->ring, 0));
	return impl_->counted;
}

std::size_t event_ring::smallest_charge() const noexcept { return header_bytes + sizeof(pm_event); }

} // namespace pm::bpf
