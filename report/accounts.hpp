// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What became of every event, command and path, in numbers that add up: sums over the runs of a point, not medians.
#pragma once

#include "report/document.hpp"
#include "report/points.hpp"

namespace pm::report {

// A table for each place.
[[nodiscard]] section where_events_went(const std::vector<point> &points);

} // namespace pm::report
