// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Made results as the report reads them, and what it says of them.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "report/document.hpp"
#include "report/results_file.hpp"

namespace pm::test {

inline report::results read(report::json data)
{
	auto checked = report::check_results("made", std::move(data));
	EXPECT_TRUE(checked) << (checked ? "" : checked.error().text);
	return checked ? *checked : report::results{};
}

inline bool has(const std::string &text, const std::string &what) { return text.find(what) != std::string::npos; }

// Null: there is none.
inline const report::section *find(const report::document &all, const std::string &id)
{
	const auto found = std::find_if(all.sections.begin(), all.sections.end(),
					[&](const report::section &each) { return each.id == id; });
	return found == all.sections.end() ? nullptr : &*found;
}

// The cells of all rows that begin with this backend; where only the first row of a backend names it, of all its rows.
inline std::vector<std::string> rows_of(const report::table &in, const std::string &backend)
{
	std::vector<std::string> found;
	std::string current;
	for (const auto &row : in.rows) {
		current = row.front().empty() ? current : row.front();
		std::string all;
		for (const std::string &cell : row)
			all += cell + '|';
		if (current == backend)
			found.push_back(all);
	}
	return found;
}

} // namespace pm::test
