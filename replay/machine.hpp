// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a result was measured on: the machine and the software, for results.json.
#pragma once

#include <nlohmann/json.hpp>

namespace pm::replay {

[[nodiscard]] const char *this_place(); // "vm": the machine of `./run vm`; else "host"
[[nodiscard]] nlohmann::json describe_machine();  // processor, how many of them may be used, memory, kernel
[[nodiscard]] nlohmann::json describe_versions(); // pathlab, compiler, libbpf, mptcpd (null: not installed)

} // namespace pm::replay
