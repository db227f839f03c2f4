// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Two results of the same points held against each other: each figure's change with its spread, and whether it is beyond
// noise. See statistics.hpp for the rule.
#pragma once

#include <string>
#include <vector>

#include "report/points.hpp"

namespace pm::report {

struct changed_figure {
	const point *before, *after;
	const figure *what;
	change by;
	[[nodiscard]] bool worse() const { return by.beyond_noise && (by.shift > 0) == what->less_is_better; }
	[[nodiscard]] bool better() const { return by.beyond_noise && !worse(); }
};

struct comparison_of_results {
	std::string before{}, after{}; // their names
	std::vector<changed_figure> figures{}; // in the order of `after`; point to the points below
	std::vector<point> before_points{}, after_points{};
	std::size_t only_before = 0, only_after = 0; // points that the other one does not have
	std::string elsewhere{}; // how the machines differ, in words; empty if they do not

	[[nodiscard]] std::size_t worse() const;
	[[nodiscard]] std::size_t better() const;
	[[nodiscard]] std::size_t unjudged() const; // fewer than three runs
	[[nodiscard]] std::string in_one_sentence() const;
};

// Both have to outlive it.
[[nodiscard]] comparison_of_results compare_results(const results &before, const results &after);

// What of a figure changed by how much: "+12 % (+8 %..+17 %)", or, where it was 0 or is a share, as a difference.
[[nodiscard]] std::string change_in_words(const changed_figure &of);

[[nodiscard]] json to_json(const comparison_of_results &all);

} // namespace pm::report
