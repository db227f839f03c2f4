// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "report/markdown.hpp"

#include <fmt/format.h>

namespace pm::report {

namespace {

std::string escaped(const std::string &text)
{
	std::string all;
	for (const char c : text) {
		if (c == '|' || c == '*' || c == '_' || c == '`' || c == '<')
			all += '\\';
		all += c == '\n' ? ' ' : c;
	}
	return all;
}

std::string markdown_of(const table &one)
{
	const auto row = [](const std::vector<std::string> &cells) {
		std::string line = "|";
		for (const std::string &cell : cells)
			line += ' ' + escaped(cell) + " |";
		return line + '\n';
	};
	std::string all = "**" + escaped(one.caption) + "**\n\n" + row(one.head) + '|';
	for (std::size_t i = 0; i < one.head.size(); ++i)
		all += i < one.left ? " :-- |" : " --: |";
	all += '\n';
	for (const auto &cells : one.rows)
		all += row(cells);
	return all + '\n';
}

} // namespace

std::string to_markdown(const document &all)
{
	std::string page = fmt::format("# {}\n\n{}\n\n", escaped(all.title), escaped(all.subtitle));
	for (const std::string &sentence : all.answer)
		page += escaped(sentence) + "\n\n";
	for (const std::string &warning : all.warnings)
		page += "> " + escaped(warning) + "\n\n";
	page += "The pictures are in `report.html` beside this file.\n\n";
	for (const section &each : all.sections) {
		page += fmt::format("## {}\n\n", escaped(each.title));
		for (const std::string &text : each.paragraphs)
			page += escaped(text) + "\n\n";
		for (const picture &drawn : each.pictures)
			if (drawn.wide.empty())
				page += fmt::format("{}: left out, {}.\n\n", escaped(drawn.title),
						    escaped(drawn.left_out));
		for (const table &rows : each.tables)
			if (!rows.folded)
				page += markdown_of(rows);
		if (!each.command.empty())
			page += "Measured again by\n\n```\n" + each.command + "\n```\n\n";
	}
	return page;
}

} // namespace pm::report
