// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "report/gnuplot.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/wait.h>

namespace pm::report {

namespace {

// Marker and dash tell them apart where colour does not: on paper, and for who sees few colours.
constexpr backend_style styles[] = {
	{"none", "#767676", "#9a9a9a", 6, "2,3"},      {"kernel", "#222222", "#e8e8e8", 4, "7,3"},
	{"mptcpd-stock", "#c44e00", "#ff9a52", 9, ""}, {"mptcpd", "#a87800", "#f0c030", 11, "9,3,2,3"},
	{"netlink", "#0067a8", "#62b5f0", 7, ""},      {"ringbuf", "#a04b84", "#e39cc8", 13, "5,3"},
	{"bpf", "#007a56", "#3fcf9f", 5, ""},          {"native", "#3d7f9e", "#8fd0ea", 8, "2,2"},
	{"other", "#555555", "#bbbbbb", 1, ""},
};

// Colours that stand for something until the SVG is there.
constexpr std::string_view ink = "#010203", grid = "#010204";
std::string placeholder(const backend_style &style) { return fmt::format("#0b00{:02x}", &style - styles + 1); }

std::string dash_in_gnuplot(std::string_view dash) { return dash.empty() ? "dt 1" : fmt::format("dt ({})", dash); }

std::string quoted(const std::string &text)
{
	std::string all = "\"";
	for (const char c : text) {
		if (c == '"' || c == '\\')
			all += '\\';
		all += c;
	}
	return all + '"';
}

std::string data_of(const curve &line, std::size_t number)
{
	std::string all = fmt::format("$d{} << EOD\n", number);
	for (std::size_t i = 0; i < line.rows.size(); ++i)
		all += fmt::format("{:.9g}{}\n", fmt::join(line.rows[i], " "),
				   line.labels.empty() ? "" : " " + quoted(line.labels[i]));
	return all + "EOD\n";
}

std::string plotting(const curve &line, std::size_t number, bool narrow)
{
	const backend_style &style = style_of(line.backend);
	const std::string colour = placeholder(style);
	if (line.with == "labels")
		return fmt::format("$d{} using 1:2:3 with labels left offset 0.6,0 tc rgb '{}' notitle", number, ink);
	if (line.with == "boxxyerror")
		return fmt::format("$d{} with boxxyerror lc rgb '{}' lw 1 fs {} border lc rgb '{}' notitle", number,
				   colour, line.faint ? "transparent solid 0.25" : "solid 0.9", colour);
	const double width = line.faint ? 0.7 : narrow ? 1.6 : 2;
	std::string words = fmt::format("$d{} with {} lc rgb '{}' lw {} {}", number, line.with, colour, width,
					line.faint ? "dt 1" : dash_in_gnuplot(style.dash));
	if (line.with.find("error") != std::string::npos || line.with.find("points") != std::string::npos)
		words += fmt::format(" pt {} ps {}", style.marker, narrow ? 0.6 : 0.75);
	return words + " notitle";
}

std::string script_of(const plot &what, bool narrow)
{
	const int width = narrow ? 356 : 860, height = narrow ? what.narrow_height : what.wide_height;
	std::string name = what.name + (narrow ? "_narrow" : "_wide");
	std::replace(name.begin(), name.end(), '-', '_'); // gnuplot takes no other signs
	std::string all =
		fmt::format("set terminal svg size {},{} enhanced font 'sans-serif,{}' linewidth 1 name '{}'\n", width,
			    height, narrow ? 11 : 13, name);
	all += fmt::format("set encoding utf8\nset border 3 lc rgb '{0}' lw 0.8\nset tics nomirror tc rgb '{0}'\n"
			   "set grid xtics ytics lc rgb '{1}' lw 0.8 dt 1\nunset key\nset bars small\n"
			   "set xlabel {2} tc rgb '{0}'\nset ylabel {3} tc rgb '{0}'\n",
			   ink, grid, quoted(what.x), quoted(what.y));
	if (what.left_margin)
		all += fmt::format("set lmargin {}\n", what.left_margin);
	for (const std::string &setting : what.settings)
		all += setting + '\n';
	if (narrow)
		for (const std::string &setting : what.narrow_settings)
			all += setting + '\n';
	std::vector<std::string> curves;
	for (std::size_t i = 0; i < what.curves.size(); ++i) {
		all += data_of(what.curves[i], i);
		curves.push_back(plotting(what.curves[i], i, narrow));
	}
	return all + fmt::format("plot {}\n", fmt::join(curves, ", \\\n  "));
}

void replace_all(std::string &text, std::string_view what, std::string_view by)
{
	for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
		text.replace(at, what.size(), by);
}

// Of "#rrggbb", the ways in which gnuplot writes it into SVG.
void recolour(std::string &svg, std::string_view colour, const std::string &by)
{
	const auto channel = [&](int i) {
		return std::strtol(std::string{colour.substr(1 + 2 * i, 2)}.c_str(), nullptr, 16);
	};
	const long r = channel(0), g = channel(1), b = channel(2);
	replace_all(svg, fmt::format("rgb({:3}, {:3}, {:3})", r, g, b), by);
	replace_all(svg, fmt::format("rgb({},{},{})", r, g, b), by);
	replace_all(svg, colour, by);
}

// For a place in an HTML page among others of its kind.
std::string as_inline(std::string svg, const plot &what, bool narrow)
{
	const auto begin = svg.find("<svg"), end = svg.find("</svg>");
	if (begin == std::string::npos || end == std::string::npos)
		return {};
	svg = svg.substr(begin, end + 6 - begin);
	recolour(svg, ink, "var(--ink)");
	recolour(svg, grid, "var(--grid)");
	for (const backend_style &style : styles)
		recolour(svg, placeholder(style), fmt::format("var(--{})", style.name));
	replace_all(svg, "color=\"black\"", "color=\"var(--ink)\"");
	const std::string prefix = what.name + (narrow ? "-n-" : "-w-");
	for (const char *id : {"gpDot", "gpPt", "textbox", "greybox", "gnuplot_canvas"}) {
		replace_all(svg, fmt::format("id='{}", id), fmt::format("id='{}{}", prefix, id));
		replace_all(svg, fmt::format("id=\"{}", id), fmt::format("id=\"{}{}", prefix, id));
		replace_all(svg, fmt::format("#{}", id), fmt::format("#{}{}", prefix, id));
	}
	svg = std::regex_replace(svg, std::regex{"<title>[^<]*</title>|<desc>[^<]*</desc>"}, "");
	svg = std::regex_replace(svg, std::regex{"<g fill=\"none\" [^>]*>\\s*</g>"}, "");
	svg = std::regex_replace(svg, std::regex{"\\n\\s*\\n+"}, "\n");
	// The size is the style sheet's, the shape that of the viewBox.
	const std::regex size{R"(width="\d+" height="\d+")"};
	return std::regex_replace(svg, size,
				  fmt::format("class=\"{}\" role=\"img\" aria-label=\"{}\"", narrow ? "narrow" : "wide",
					      what.title),
				  std::regex_constants::format_first_only);
}

struct folder {
	std::string path = (std::filesystem::temp_directory_path() / "pathlab-plot-XXXXXX").string();
	folder() { made = mkdtemp(path.data()) != nullptr; }
	folder(const folder &) = delete;
	~folder()
	{
		std::error_code ignored;
		if (made)
			std::filesystem::remove_all(path, ignored);
	}
	bool made;
};

expected<std::string> run_gnuplot(const folder &in, const std::string &script)
{
	const std::string file = in.path + "/plot.gp";
	std::ofstream stream{file};
	stream << script;
	stream.close();
	if (!stream)
		return fail_errno("cannot write a script for gnuplot");
	std::FILE *pipe = popen(fmt::format("gnuplot -d '{}' 2>'{}/said'", file, in.path).c_str(), "re");
	if (!pipe)
		return fail_errno("cannot start gnuplot");
	std::string svg;
	char block[65536];
	for (std::size_t n; (n = std::fread(block, 1, sizeof block, pipe)) > 0;)
		svg.append(block, n);
	const int status = pclose(pipe);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return fail("gnuplot is not installed: apt-get install gnuplot-nox, then `pathlab report`");
	if (status != 0) {
		std::ifstream said{in.path + "/said"};
		std::string words, line;
		while (std::getline(said, line))
			words = line.find_first_not_of(" \t^") == std::string::npos ? words : line;
		return fail(fmt::format("gnuplot failed: {}", words));
	}
	return svg;
}

} // namespace

std::span<const backend_style> backend_styles() { return styles; }

const backend_style &style_of(std::string_view backend)
{
	for (const backend_style &style : styles)
		if (style.name == backend)
			return style;
	return styles[std::size(styles) - 1];
}

std::string legend_mark(std::string_view backend)
{
	const backend_style &style = style_of(backend);
	const char *shape = "";
	switch (style.marker) {
	case 4: shape = "<rect x='12' y='3' width='8' height='8' fill='var(--paper)' stroke='{0}'/>"; break;
	case 5: shape = "<rect x='12' y='3' width='8' height='8' fill='{0}'/>"; break;
	case 6: shape = "<circle cx='16' cy='7' r='4' fill='var(--paper)' stroke='{0}'/>"; break;
	case 7: shape = "<circle cx='16' cy='7' r='4.5' fill='{0}'/>"; break;
	case 8: shape = "<path d='M16,2 l5,9 h-10 z' fill='var(--paper)' stroke='{0}'/>"; break;
	case 9: shape = "<path d='M16,2 l5,9 h-10 z' fill='{0}'/>"; break;
	case 11: shape = "<path d='M16,12 l5,-9 h-10 z' fill='{0}'/>"; break;
	case 13: shape = "<path d='M16,1.5 l5.5,5.5 l-5.5,5.5 l-5.5,-5.5 z' fill='{0}'/>"; break;
	default: break;
	}
	const std::string colour = fmt::format("var(--{})", style.name);
	return fmt::format("<svg class='mark' viewBox='0 0 32 14' width='32' height='14' aria-hidden='true'>"
			   "<path d='M0,7 h32' stroke='{}' stroke-width='2' stroke-dasharray='{}'/>{}</svg>",
			   colour, style.dash.empty() ? "none" : style.dash, fmt::format(fmt::runtime(shape), colour));
}

expected<drawing> draw(const plot &what)
{
	const folder in;
	if (!in.made)
		return fail_errno("cannot make a folder for gnuplot");
	drawing both;
	for (const bool narrow : {false, true}) {
		auto svg = run_gnuplot(in, script_of(what, narrow));
		if (!svg)
			return tl::unexpected(svg.error());
		(narrow ? both.narrow : both.wide) = as_inline(std::move(*svg), what, narrow);
	}
	if (both.wide.empty() || both.narrow.empty())
		return fail("gnuplot drew nothing");
	return both;
}

} // namespace pm::report
