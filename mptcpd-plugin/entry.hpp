// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What is the same in every plugin; the one function and the name that differ are in entry.cpp.
#pragma once

struct mptcpd_pm;

namespace pm::plugin {

// mptcpd's init and exit of the plugin that is called as its policy. Yields 0, or -1 after it has said why in mptcpd's log:
// then mptcpd goes on with its other plugins, or, without any, ends.
[[nodiscard]] int load(const char *name, mptcpd_pm *pm) noexcept;
void unload() noexcept;

} // namespace pm::plugin
