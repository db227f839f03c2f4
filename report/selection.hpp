// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Which points belong side by side: those of a place, of a scenario, under one load.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "report/points.hpp"

namespace pm::report {

using selection = std::vector<const point *>;

[[nodiscard]] std::vector<std::string> places_of(const std::vector<point> &points, part of);
[[nodiscard]] std::string place_in_words(const std::string &place); // on the host, in the virtual machine
[[nodiscard]] selection select(const std::vector<point> &points, part of, const std::string &place,
			       std::string_view scenario);

// Of these, those that have a value of the figure.
[[nodiscard]] selection with_values(const selection &of, std::string_view figure);

// Those under loads that differ only in rate, connections, and what `also` names: of the loads there are, the one of most
// points.
[[nodiscard]] selection largest_family(const selection &of, std::string_view also = "");

// Of a family, those under one and the same load: the loads of most backends, and of those the one of the lowest, or
// highest, rate.
enum class which { lowest_rate, highest_rate };
[[nodiscard]] selection side_by_side(const selection &of, which rate);

[[nodiscard]] std::vector<std::string> backends_of(const selection &of);
// Of points under one load, the rate; at full rate, from the slowest to the fastest backend.
[[nodiscard]] std::string rates_in_words(const selection &of);
// One backend's, by rising rate.
[[nodiscard]] selection of_backend(const selection &of, std::string_view backend);

// The command that measures these loads again.
[[nodiscard]] std::string command_for(const selection &of);
// ... and the replays of a comparison, given its own command.
[[nodiscard]] std::string command_for_replays(const std::string &comparison);
// A word as a shell reads it back.
[[nodiscard]] std::string shell_word(const std::string &word);

} // namespace pm::report
