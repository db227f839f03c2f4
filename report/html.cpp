// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "report/html.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "report/gnuplot.hpp"
#include "report/page_style.hpp"

namespace pm::report {

namespace {

std::string escaped(std::string_view text)
{
	std::string all;
	for (const char c : text) {
		switch (c) {
		case '&': all += "&amp;"; break;
		case '<': all += "&lt;"; break;
		case '>': all += "&gt;"; break;
		case '"': all += "&quot;"; break;
		default: all += c;
		}
	}
	return all;
}

std::string colours(bool dark)
{
	std::string all = fmt::format("color-scheme:{};", dark ? "dark" : "light");
	for (const page_colour &each : page_colours)
		all += fmt::format("--{}:{};", each.name, dark ? each.dark : each.light);
	for (const backend_style &style : backend_styles())
		all += fmt::format("--{}:{};", style.name, dark ? style.dark : style.light);
	return all;
}

// Long text may be broken into lines, figures not.
bool is_words(const std::string &cell) { return cell.size() > 48; }

std::string html_of(const table &one)
{
	std::string rows;
	const auto side = [&](std::size_t i, const std::string &cell) {
		const bool verdict = cell == "worse" || cell == "better";
		return fmt::format("{}{}{}", i < one.left ? "left" : "", is_words(cell) ? " words" : "",
				   verdict ? " " + cell : "");
	};
	const auto row = [&](const char *tag, const std::vector<std::string> &cells) {
		std::string line;
		for (std::size_t i = 0; i < cells.size(); ++i)
			line += fmt::format("<{} class=\"{}\">{}</{}>", tag, side(i, cells[i]), escaped(cells[i]), tag);
		return line;
	};
	for (const auto &cells : one.rows)
		rows += fmt::format("<tr>{}</tr>\n", row("td", cells));
	const std::string head = fmt::format("<thead><tr>{}</tr></thead><tbody>\n{}</tbody></table></div>\n",
					     row("th", one.head), rows);
	if (one.folded)
		return fmt::format(
			"<details><summary>{}</summary><div class=\"scroll\" tabindex=\"0\"><table>{}</details>\n",
			escaped(one.caption), head);
	return fmt::format("<div class=\"scroll\" tabindex=\"0\"><table><caption>{}</caption>{}", escaped(one.caption),
			   head);
}

std::string html_of(const picture &one)
{
	if (one.wide.empty())
		return fmt::format("<p class=\"left-out\" id=\"{}\">{}: left out, {}.</p>\n", one.name,
				   escaped(one.title), escaped(one.left_out));
	std::string legend;
	for (const std::string &backend : one.legend)
		legend += fmt::format("<li>{}{}</li>", legend_mark(backend), escaped(backend));
	return fmt::format("<figure id=\"{}\"><figcaption>{}</figcaption>{}\n{}\n{}\n</figure>\n", one.name,
			   escaped(one.title), legend.empty() ? "" : "<ul class=\"legend\">" + legend + "</ul>",
			   one.wide, one.narrow);
}

std::string html_of(const section &one)
{
	std::string all = fmt::format("<section id=\"{}\"><h2>{}</h2>\n", one.id, escaped(one.title));
	for (const std::string &text : one.paragraphs)
		all += fmt::format("<p>{}</p>\n", escaped(text));
	for (const picture &each : one.pictures)
		all += html_of(each);
	for (const table &each : one.tables)
		all += html_of(each);
	if (!one.command.empty())
		all += fmt::format("<p class=\"by\">Measured again by</p><pre>{}</pre>\n", escaped(one.command));
	return all + "</section>\n";
}

// In a script element, "<" could begin its end. In JSON it is only in strings, where it may be written otherwise.
std::string in_script(const std::string &json)
{
	std::string all;
	for (const char c : json)
		all += c == '<' ? std::string{"\\u003c"} : std::string{c};
	return all;
}

} // namespace

std::string to_html(const document &all)
{
	std::string page =
		fmt::format("<!DOCTYPE html>\n<!-- SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) -->\n<html "
			    "lang=\"en\"><head><meta charset=\"utf-8\">"
			    "<meta name=\"viewport\" "
			    "content=\"width=device-width,initial-scale=1\"><title>{}</title>\n<style>\n:root{{{}}}\n"
			    "@media screen and "
			    "(prefers-color-scheme:dark){{:root{{{}}}}}{}</style></head>\n<body><main>\n<h1>{}</h1><p "
			    "class=\"sub\">{}</p>\n",
			    escaped(all.title), colours(false), colours(true), page_style, escaped(all.title),
			    escaped(all.subtitle));
	page += "<div class=\"answer\" id=\"answer\">\n";
	for (const std::string &sentence : all.answer)
		page += fmt::format("<p>{}</p>\n", escaped(sentence));
	page += "</div>\n";
	for (const std::string &warning : all.warnings)
		page += fmt::format("<p class=\"warning\">{}</p>\n", escaped(warning));
	page += "<nav aria-label=\"Contents\"><ul>";
	for (const section &each : all.sections)
		page += fmt::format("<li><a href=\"#{}\">{}</a></li>", each.id, escaped(each.title));
	page += "</ul></nav>\n";
	for (const section &each : all.sections)
		page += html_of(each);
	page += fmt::format("</main>\n<script type=\"application/json\" id=\"results\">{}</script>\n</body></html>\n",
			    in_script(all.raw));
	return page;
}

} // namespace pm::report
