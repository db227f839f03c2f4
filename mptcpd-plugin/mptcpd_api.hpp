// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// mptcpd's plugin interface on one side, our events and commands on the other. The one place that knows in what mptcpd 0.12,
// 0.13 and 0.14 differ:
//
// - 0.13 adds two callbacks (of listeners) in the middle of struct mptcpd_plugin_ops, without another soname.
// - 0.14 (libmptcpd.so.4) adds the argument deny_join_id0 to new_connection and connection_established, and the error to
//   subflow_closed.
//
// What no version's callbacks carry, and what stands for it here:
//
// - The address ids and the interface of a subflow: 0, "not said". For the client side that is as good: the engine gave the
//   id itself. A server that hears of a join from an address that was not announced does not know its id, so a later
//   REMOVE_ADDR of it is not matched; the kernel closes those subflows by itself and says so.
// - The backup flag: there is an argument for it, but mptcpd passes on whether the event *has* the attribute (up to 0.14
//   at least), which is always. Taken as not set; and subflow_priority, which says nothing else, is not listened to.
// - Up to 0.13, that the peer refuses joins to its initial address (the C flag of MP_CAPABLE): taken as not refused. Such
//   joins are reset by the peer, and the engine leaves the pair alone after three.
// - Up to 0.13, the error of a subflow that closed: 0. No decision depends on it.
//
// And what its commands lack: the interface (the kernel's routing chooses it), and any answer. What became of a command
// shows in later events, or not at all; see path_manager.hpp.
#pragma once

#include "pm-core/types.h"

struct mptcpd_plugin_ops;
struct mptcpd_pm;

namespace pm::plugin {

// What mptcpd is to call; each call becomes one event given to `handle`, which does not throw. Good for ever.
[[nodiscard]] const mptcpd_plugin_ops &callbacks(void (*handle)(const pm_event &) noexcept) noexcept;

// Hands a command about a subflow to mptcpd: to open or close it, to set its priority. False: mptcpd did not take it. True
// does not mean that the kernel did.
[[nodiscard]] bool give_to_mptcpd(mptcpd_pm *pm, const pm_command &command);

// Whether mptcpd sends connections to the callbacks that were registered: of several plugins it asks only one, and has no
// function that says which. To be called once they are registered; `handle` hears nothing of it.
[[nodiscard]] bool chosen_by_mptcpd(mptcpd_pm *pm);

} // namespace pm::plugin
