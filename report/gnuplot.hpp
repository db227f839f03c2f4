// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Curves to inline SVG, by gnuplot. Colours are CSS variables, so that one picture does for light, dark and paper; a
// backend looks the same in every picture, in colour, dash and marker. What is in a picture, pictures.cpp says.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pm-netlink/error.hpp"

namespace pm::report {

struct backend_style {
	std::string_view name;
	std::string_view light,
		dark; // colours, from a palette that colour-blind people tell apart (after Okabe and Ito)
	int marker;                   // gnuplot's point type
	std::string_view dash;        // as in SVG; empty: a full line
};
[[nodiscard]] std::span<const backend_style> backend_styles();
// Of a backend that is not listed: one of its own for all those.
[[nodiscard]] const backend_style &style_of(std::string_view backend);
// A short line with the backend's marker, as SVG.
[[nodiscard]] std::string legend_mark(std::string_view backend);

struct curve {
	std::string backend{};
	std::string with{}; // gnuplot's style: lines, steps, yerrorlines, boxxyerror, labels
	std::vector<std::vector<double>> rows{};
	std::vector<std::string> labels{}; // for `labels`: one for each row
	bool faint = false;
};

struct plot {
	std::string name{}, title{};
	std::string x{}, y{};                // what is on the axes, with the unit
	std::vector<std::string> settings{}; // gnuplot's: scales, ticks, ranges
	std::vector<std::string> narrow_settings{}; // behind those, in the narrow one
	std::vector<curve> curves{};
	int wide_height = 400, narrow_height = 300;
	int left_margin = 0; // in characters; 0: gnuplot's choice
};

struct drawing {
	std::string wide{}, narrow{};
};

// Fails if gnuplot is missing, or does not take it.
[[nodiscard]] expected<drawing> draw(const plot &what);

} // namespace pm::report
