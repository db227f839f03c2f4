// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Stress runs as a table for people: a row for each path manager and plan, medians over the runs that count.
#pragma once

#include <string>

#include "replay/stress.hpp"

namespace pm::pathlab {

[[nodiscard]] std::string stress_table(const replay::stress_results &results);

} // namespace pm::pathlab
