// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The namespaces of a stress run.
#pragma once

#include "replay/lab.hpp"
#include "replay/stress_scenario.hpp"

namespace pm::replay {

// With a server that takes joins, and announces what it should, and links as slow as they should be.
[[nodiscard]] expected<lab> build_stress_lab(const stress_load &load);

} // namespace pm::replay
