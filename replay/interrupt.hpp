// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Ctrl-C, SIGTERM and the end of a terminal (SIGHUP) as a question that long work asks now and then, so that it can tidy up and
// keep what it has.
#pragma once

#include "pm-netlink/error.hpp"

namespace pm::replay {

void catch_interrupts();                  // from now on; call it before any thread is started
[[nodiscard]] bool interrupted() noexcept;
[[nodiscard]] int interrupt_fd() noexcept; // readable once interrupted; -1 before catch_interrupts()

[[nodiscard]] inline tl::unexpected<error> fail_interrupted() { return fail("interrupted"); }

} // namespace pm::replay
