// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The pictures of a report, each in a section with its data table and the command that measures it again. One for each
// place where there is data; where there is none anywhere, the section says why instead.
#pragma once

#include "report/document.hpp"
#include "report/points.hpp"

namespace pm::report {

[[nodiscard]] section loss_against_rate(const std::vector<point> &points);
[[nodiscard]] section latency_distribution(const std::vector<point> &points);
[[nodiscard]] section paths_over_time(const std::vector<point> &points);
[[nodiscard]] section cost_per_connection(const std::vector<point> &points);
[[nodiscard]] section loss_against_buffer(const std::vector<point> &points);
[[nodiscard]] section loss_of_replays(const std::vector<point> &points, const std::string &comparison);

} // namespace pm::report
