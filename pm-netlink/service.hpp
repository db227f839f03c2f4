// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A path manager over netlink, whole: events in, policy, commands out, local addresses, and a resync whenever anything may
// have been missed. One thread, which never waits: whoever runs it (the daemon, a plugin inside mptcpd) polls one file
// descriptor and calls dispatch().
//
// Switches nothing: that its namespace is in the hands of the userspace path manager is the caller's affair.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "pm-netlink/error.hpp"
#include "pm-netlink/event_channel.hpp"
#include "pm-netlink/settings_file.hpp"
#include "pm-netlink/status.hpp"

namespace pm::netlink {

class service {
public:
	using say_function = std::function<void(const std::string &)>; // one line for a person, without a newline

	// In the calling thread's network namespace: opens its sockets, lists the local addresses and begins a first resync,
	// which adopts every connection that exists. `say` is told what an operator should know: a loss, the resync that
	// mended it. Events come by netlink, unless another channel is given.
	[[nodiscard]] static expected<std::unique_ptr<service>> start(const policy_info &policy,
								      const manager_settings &, say_function say,
								      std::unique_ptr<event_channel> events = nullptr);
	virtual ~service() = default;

	[[nodiscard]] virtual int
	fd() const noexcept = 0; // readable: there is something to dispatch (time passing included)
	// Does a bounded part of what there is to do, and does not wait. Fails only if it cannot go on.
	[[nodiscard]] virtual expected<void> dispatch() = 0;

	virtual void ask_for_resync() = 0;
	// Other settings of the same policy, or another policy: each connection is looked at again. Fails, and changes nothing,
	// if they cannot be had.
	[[nodiscard]] virtual expected<void> change(const policy_info &policy, const manager_settings &settings) = 0;
	[[nodiscard]] virtual service_status status() = 0;
};

} // namespace pm::netlink
