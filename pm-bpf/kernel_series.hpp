// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Whether this kernel takes path managers in BPF, and this process may bring one: one sentence each if not.
#pragma once

#include "pm-netlink/error.hpp"

namespace pm::bpf {

[[nodiscard]] expected<void> check_kernel();
[[nodiscard]] expected<void> check_privileges();

} // namespace pm::bpf
