// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The path manager's events of a network namespace through a BPF ring buffer: see events.bpf.c. For comparison with netlink,
// on kernels whose functions can be traced. Its `lost` may be too high: some events the kernel counts only together with
// those of other namespaces.
#pragma once

#include <memory>

#include "pm-netlink/event_channel.hpp"

namespace pm::bpf {

class event_ring final : public netlink::event_channel {
public:
	// Of the calling thread's namespace. `bytes` is rounded up to a power of two. Needs CAP_BPF, CAP_PERFMON and
	// CAP_NET_ADMIN.
	[[nodiscard]] static expected<std::unique_ptr<event_ring>> open(std::size_t bytes);
	~event_ring() override;

	[[nodiscard]] int fd() const noexcept override;
	[[nodiscard]] expected<std::size_t> read(const handler &handle, std::size_t most) override;
	[[nodiscard]] const netlink::event_counters &counters() override;
	[[nodiscard]] std::size_t smallest_charge() const noexcept override;

private:
	struct impl;
	std::unique_ptr<impl> impl_;
	explicit event_ring(std::unique_ptr<impl> made);
};

} // namespace pm::bpf
