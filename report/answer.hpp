// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The answer in three sentences, from the numbers and nothing else: what was lost, how late the second path was, and what
// a connection cost with what follows. What was not measured is said, and why.
#pragma once

#include <string>
#include <vector>

#include "report/points.hpp"

namespace pm::report {

// Always three.
[[nodiscard]] std::vector<std::string> answer(const results &all, const std::vector<point> &points);

} // namespace pm::report
