// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Parts of pictures: axes, and the curves that are more than one point after the other.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "report/document.hpp"
#include "report/gnuplot.hpp"
#include "report/selection.hpp"

namespace pm::report {

[[nodiscard]] picture to_draw(const plot &what, const std::vector<std::string> &legend);
// All that are not left out; with the reason, those are that gnuplot does not draw.
void draw_pictures(document &of);
// A drawn picture as an SVG file of its own, with title and legend, light.
[[nodiscard]] std::string as_file(const picture &one);

void add(std::vector<std::string> &to, const std::vector<std::string> &more);
void add_line(std::string &to, const std::string &line);

// A logarithmic axis from below the least to above the most of these, with a tick at 1, 2 and 5 of each power of ten, or
// only at 1 where these would be many.
[[nodiscard]] std::vector<std::string> log_axis(char axis, double least, double most,
						std::string (*words)(double) = nullptr);
template <class Value>
[[nodiscard]] std::vector<std::string> log_axis(char axis, const selection &of, Value &&value)
{
	double least = HUGE_VAL, most = 0;
	for (const point *each : of) {
		least = std::min(least, value(*each));
		most = std::max(most, value(*each));
	}
	return log_axis(axis, least, most);
}

// Time in nanoseconds against 1/(1 - share) of all connections; a curve ends where the paths of the others never came.
[[nodiscard]] std::vector<std::string> percentile_axes(const std::vector<curve> &curves);
[[nodiscard]] std::vector<curve> percentile_curves(const selection &of);
[[nodiscard]] table percentile_table(const std::string &caption, const selection &of);

// Connections that lack a path over milliseconds: of each backend the median run by path time missing, the others faint.
[[nodiscard]] std::vector<curve> timeline_curves(const selection &of);

// Until which millisecond that is of interest: those that recover have, and some time beyond.
[[nodiscard]] double timeline_end(const selection &of);

// A bar for each backend, named on the y axis, its figure beside it.
[[nodiscard]] std::vector<std::string> bar_axes(const std::vector<std::string> &backends);
// Bars of up to `most` take this share of the width, labels the rest.
[[nodiscard]] std::vector<std::string> room_for_labels(double most, double share);
[[nodiscard]] std::vector<curve> bar_curves(const selection &of);

} // namespace pm::report
