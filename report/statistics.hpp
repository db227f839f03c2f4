// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Few repetitions, compared without believing in a bell curve: how a figure scatters, and when a change of it is beyond
// noise. docs/report.md says the same in words. Knows nothing of path managers. A value may be infinite: what never ended.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "replay/histogram.hpp" // summary: median, least and most of repetitions

namespace pm::report {

using replay::summarize;
using replay::summary;

// How far repetitions scatter, those that are finite, as a standard deviation: from their range where they are few (from 2), else from the
// median distance to their median, which outliers do not move. 0 for less than two values.
[[nodiscard]] double scatter_of(const std::vector<double> &values);

// What a figure scatters typically, relative to its median: the median over samples that have at least two values and a
// median other than 0. Three repetitions say little of their own scatter; those of all points together do.
[[nodiscard]] double typical_scatter(const std::vector<std::vector<double>> &samples);

// The value that a normal variable exceeds with this probability (0 < p < 1).
[[nodiscard]] double normal_quantile_above(double p);

// The chance of a rank sum as extreme as the k-th smallest difference, or more, if nothing changed: P(U < k) for
// samples of n and m values, where U counts the pairs that are the other way round.
[[nodiscard]] double rank_chance_below(std::size_t k, std::size_t n, std::size_t m);

struct noise {
	double typical = 0; // relative, see typical_scatter()
	double resolution = 0; // smaller changes mean nothing, whatever their scatter
	double least_relative = 0.05; // neither do those of less than this share of what it was
	std::size_t comparisons =
		1; // how many figures are compared at once: one in twenty *comparisons* may err, not figures
};

struct change {
	summary before, after;
	double shift = 0; // after - before: the median of all differences between two runs (Hodges-Lehmann)
	double low = 0, high = 0; // its interval
	double confidence = 0; // of the interval: 0.95 or more, less only where there are too few runs for that
	bool judged = false; // at least three runs on both sides
	bool beyond_noise = false; // judged, and all of difference_of()'s conditions hold
};

// A change is beyond noise if the interval of the shift leaves out 0, the shift is larger than what the scatter of both
// samples (or the typical one, whichever is larger) explains for that many comparisons, and it is neither below the
// resolution nor below the least share. Both samples have at least one value.
[[nodiscard]] change difference_of(const std::vector<double> &before, const std::vector<double> &after,
				   const noise &noise);

} // namespace pm::report
