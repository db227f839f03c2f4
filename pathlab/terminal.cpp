// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pathlab/terminal.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <unistd.h>

namespace pm::pathlab {

progress_line::progress_line() : visible_(isatty(STDERR_FILENO)) {}

progress_line::~progress_line()
{
	if (shown_)
		fmt::print(stderr, "\r\033[K");
}

void progress_line::show(double share, const std::string &what)
{
	if (!visible_)
		return;
	shown_ = true;
	fmt::print(stderr, "\r\033[K{:3.0f} %  {:.100}", share * 100, what);
	std::fflush(stderr);
}

std::string format_table(const std::vector<std::vector<std::string>> &rows, std::size_t left)
{
	std::vector<std::size_t> width;
	for (const auto &row : rows) {
		width.resize(std::max(width.size(), row.size()));
		for (std::size_t i = 0; i < row.size(); ++i)
			width[i] = std::max(width[i], row[i].size());
	}
	std::string text;
	for (const auto &row : rows) {
		std::string line;
		for (std::size_t i = 0; i < row.size(); ++i)
			line += i < left ? fmt::format("{:<{}}  ", row[i], width[i])
					 : fmt::format("{:>{}}  ", row[i], width[i]);
		line.erase(line.find_last_not_of(' ') + 1);
		text += line + '\n';
	}
	return text;
}

std::string format_duration(double ns)
{
	if (ns < 1e3)
		return fmt::format("{:.0f} ns", ns);
	if (ns < 1e6)
		return fmt::format("{:.{}f} us", ns / 1e3, ns < 1e5 ? 1 : 0);
	if (ns < 1e9)
		return fmt::format("{:.{}f} ms", ns / 1e6, ns < 1e8 ? 1 : 0);
	return fmt::format("{:.2f} s", ns / 1e9);
}

std::string format_share(double share)
{
	const double percent = share * 100;
	if (percent == 0 || percent == 100)
		return fmt::format("{:.0f} %", percent);
	if (percent < 0.01)
		return "<0.01 %";
	if (percent > 99.9 && percent < 100)
		return ">99.9 %";
	return fmt::format("{:.{}f} %", percent, percent < 1 ? 2 : percent < 10 || percent > 99 ? 1 : 0);
}

std::string format_count(double number)
{
	const std::string digits = fmt::format("{:.0f}", number);
	std::string grouped;
	for (std::size_t i = 0; i < digits.size(); ++i) {
		if (i > 0 && (digits.size() - i) % 3 == 0 && digits[i - 1] != '-')
			grouped.push_back(',');
		grouped.push_back(digits[i]);
	}
	return grouped;
}

} // namespace pm::pathlab
