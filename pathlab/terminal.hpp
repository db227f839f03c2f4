// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What people see: a progress line where stderr is a terminal, tables, numbers with a unit.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

namespace pm::pathlab {

// One line on stderr that is written over and over; nothing where stderr is no terminal.
class progress_line {
public:
	progress_line();
	~progress_line(); // clears it
	void show(double share, const std::string &what);

private:
	bool visible_;
	bool shown_ = false;
};

// Columns as wide as they need to be; the first `left` of them aligned to the left, the others to the right.
[[nodiscard]] std::string format_table(const std::vector<std::vector<std::string>> &rows, std::size_t left);

[[nodiscard]] std::string format_duration(double ns);    // 850 ns, 12.3 us, 4.56 ms, 1.20 s
[[nodiscard]] std::string format_share(double share); // 0 %, 0.03 %, 38 %, 100 %; never rounded to a 0 or 100 it is not
[[nodiscard]] std::string format_count(double number); // 1,234,567

} // namespace pm::pathlab
