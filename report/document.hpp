// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a report consists of, whatever it is written as: html.hpp and markdown.hpp write it. All text is plain; pictures are
// plots until draw_pictures() of drawing.hpp has drawn them.
#pragma once

#include <string>
#include <vector>

#include "report/gnuplot.hpp"

namespace pm::report {

struct table {
	std::string caption{};
	std::vector<std::string> head{};
	std::vector<std::vector<std::string>> rows{};
	std::size_t left = 1; // columns aligned to the left, the others to the right
	bool folded = false;  // long: opened on demand
};

struct picture {
	std::string name{}, title{};
	plot what{};
	std::string wide{}, narrow{};      // inline SVG for a screen of 1280 and of 390 pixels; empty: left out
	std::vector<std::string> legend{}; // the backends whose curves are in it
	std::string left_out{};            // why, if it is: no data, or gnuplot does not draw it
};

struct section {
	std::string id{}, title{};
	std::vector<std::string> paragraphs{};
	std::vector<picture> pictures{};
	std::vector<table> tables{};
	std::string command{}; // that reproduces it; empty: none
};

struct document {
	std::string title{}, subtitle{};
	std::vector<std::string> answer{}; // three sentences
	std::vector<std::string> warnings{}; // incomplete, excluded runs
	std::vector<section> sections{};
	std::string raw{}; // results.json
};

} // namespace pm::report
