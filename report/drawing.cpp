// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "report/drawing.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "report/page_style.hpp"

namespace pm::report {

namespace {

// More points than a picture has pixels for are of no use.
constexpr std::size_t most_points = 400;

template <class Row>
std::vector<Row> thinned(const std::vector<Row> &rows)
{
	if (rows.size() <= most_points)
		return rows;
	std::vector<Row> some;
	const std::size_t step = rows.size() / most_points + 1;
	for (std::size_t i = 0; i < rows.size(); i += step)
		some.push_back(rows[i]);
	some.push_back(rows.back());
	return some;
}

std::string tick(double value)
{
	return value >= 1e6   ? fmt::format("{:g}M", value / 1e6)
	       : value >= 1e3 ? fmt::format("{:g}k", value / 1e3)
			      : fmt::format("{:g}", value);
}

// Times as steps over 1/(1 - share of all connections below), up to the share whose second path came.
std::vector<std::vector<double>> percentile_steps(const second_paths &all)
{
	double below = 0;
	std::vector<std::vector<double>> rows;
	if (all.connections <= 0)
		return rows;
	for (const auto &[upper_end, number] : all.histogram) {
		rows.push_back({1 / (1 - below / all.connections), std::min(upper_end, all.latest)});
		below = std::min(below + number, all.came);
	}
	if (rows.empty())
		return rows;
	const double lacking = all.connections - all.came;
	const double end = lacking > 0 ? std::min(all.captured, all.connections / lacking) : all.captured;
	rows.push_back({std::max(end, rows.back()[0]), rows.back()[1]});
	return thinned(rows);
}

std::vector<std::vector<double>> timeline_of(const json &run)
{
	std::vector<std::vector<double>> rows;
	const json list = run.at("missing").value("timeline_ms", json::array());
	for (const json &each : list)
		if (each.is_array() && each.size() == 2 && each[0].is_number() && each[1].is_number())
			rows.push_back({each[0].get<double>(), each[1].get<double>()});
	return thinned(rows);
}

double path_seconds(const json &run) { return number_at(run, "/missing/path_seconds").value_or(0); }

} // namespace

picture to_draw(const plot &what, const std::vector<std::string> &legend)
{
	return {.name = what.name, .title = what.title, .what = what, .legend = legend};
}

void draw_pictures(document &of)
{
	for (section &in : of.sections)
		for (picture &each : in.pictures) {
			if (!each.left_out.empty())
				continue;
			auto svg = draw(each.what);
			if (!svg) {
				each.left_out = svg.error().text;
				continue;
			}
			each.wide = std::move(svg->wide);
			each.narrow = std::move(svg->narrow);
		}
}

std::string as_file(const picture &one)
{
	constexpr int width = 900, margin = 16, above = 76;
	const int height = above + one.what.wide_height + margin;
	std::string legend;
	int x = margin;
	for (const std::string &backend : one.legend) {
		legend += fmt::format("<g transform='translate({},54)'>{}<text x='38' y='12' font-size='14' "
				      "fill='var(--ink)'>{}</text></g>\n",
				      x, legend_mark(backend), backend);
		x += 60 + 9 * static_cast<int>(backend.size());
	}
	std::string inner = one.wide; // its size is that of whatever it is in
	inner.insert(4, fmt::format(" x='{}' y='{}' width='{}' height='{}'", margin, above, width - 2 * margin,
				    one.what.wide_height));
	std::string all = fmt::format(
		"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {0} {1}' width='{0}' height='{1}' "
		"font-family='DejaVu Sans, sans-serif'>\n<rect width='{0}' height='{1}' fill='var(--paper)'/>\n"
		"<text x='{2}' y='36' font-size='16' font-weight='bold' fill='var(--ink)'>{3}</text>\n{4}{5}</svg>\n",
		width, height, margin, one.title, legend, inner);
	const auto paint = [&](std::string_view name, std::string_view colour) {
		const std::string variable = fmt::format("var(--{})", name);
		for (std::size_t at = 0; (at = all.find(variable, at)) != std::string::npos;)
			all.replace(at, variable.size(), colour);
	};
	for (const page_colour &each : page_colours)
		paint(each.name, each.light);
	for (const backend_style &each : backend_styles())
		paint(each.name, each.light);
	return all;
}

void add(std::vector<std::string> &to, const std::vector<std::string> &more)
{
	to.insert(to.end(), more.begin(), more.end());
}

void add_line(std::string &to, const std::string &line)
{
	if (!to.empty())
		to += '\n';
	to += line;
}

std::vector<std::string> log_axis(char axis, double least, double most, std::string (*words)(double))
{
	least = std::max(least, 1e-3) / 1.15;
	most = std::max(most, least) * 1.15;
	const bool many = most / least > 300;
	std::vector<std::string> ticks;
	for (double decade = std::pow(10, std::floor(std::log10(least))); decade <= most; decade *= 10)
		for (const double by : {1.0, 2.0, 5.0})
			if ((by == 1 || !many) && decade * by >= least && decade * by <= most)
				ticks.push_back(fmt::format("'{}' {:g}", words ? words(decade * by) : tick(decade * by),
							    decade * by));
	return {fmt::format("set logscale {}", axis), fmt::format("set {}range [{:g}:{:g}]", axis, least, most),
		fmt::format("set {}tics ({})", axis, fmt::join(ticks, ", "))};
}

std::vector<std::string> percentile_axes(const std::vector<curve> &curves)
{
	double least = HUGE_VAL, most = 1, rarest = 2;
	for (const curve &line : curves)
		for (const auto &row : line.rows) {
			rarest = std::max(rarest, row[0]);
			least = std::min(least, row[1]);
			most = std::max(most, row[1]);
		}
	std::vector<std::string> all = log_axis('y', std::min(least, most), most, [](double ns) {
		return ns < 1e3   ? fmt::format("{:g} ns", ns)
		       : ns < 1e6 ? fmt::format("{:g} µs", ns / 1e3)
		       : ns < 1e9 ? fmt::format("{:g} ms", ns / 1e6)
				  : fmt::format("{:g} s", ns / 1e9);
	});
	add(all,
	    {"set logscale x", fmt::format("set xrange [1:{:g}]", rarest), "set rmargin 5",
	     "set xtics ('' 1, '50 %%' 2, '90 %%' 10, '99 %%' 100, '99.9 %%' 1000, '99.99 %%' 1e4, '99.999 %%' 1e5)"});
	return all;
}

std::vector<curve> percentile_curves(const selection &of)
{
	std::vector<curve> curves;
	for (const std::string &backend : backends_of(of)) {
		curve line{.backend = backend, .with = "steps", .rows = {}, .labels = {}};
		line.rows = percentile_steps(second_paths_of(*of_backend(of, backend).front()));
		if (!line.rows.empty())
			curves.push_back(std::move(line));
	}
	return curves;
}

table percentile_table(const std::string &caption, const selection &of)
{
	table all{.caption = caption,
		  .head = {"backend", "p50", "p90", "p99", "p99.9", "latest", "connections with their paths", "timed",
			   "runs"},
		  .rows = {}};
	for (const std::string &backend : backends_of(of)) {
		const point &one = *of_backend(of, backend).front();
		const second_paths paths = second_paths_of(one);
		std::vector<std::string> row{backend};
		for (const double share : {0.5, 0.9, 0.99, 0.999})
			row.push_back(in_words(unit::duration, paths.percentile(share)));
		row.push_back(paths.captured > 0 ? in_words(unit::duration, paths.latest) : "-");
		row.push_back(fmt::format("{} of {}", in_words(unit::count, paths.came),
					  in_words(unit::count, paths.connections)));
		row.push_back(in_words(unit::count, paths.captured));
		row.push_back(fmt::format("{}", one.runs.size()));
		all.rows.push_back(std::move(row));
	}
	return all;
}

std::vector<curve> timeline_curves(const selection &of)
{
	std::vector<curve> faint, bold;
	for (const std::string &backend : backends_of(of)) {
		auto runs = of_backend(of, backend).front()->runs;
		std::sort(runs.begin(), runs.end(),
			  [](const json *a, const json *b) { return path_seconds(*a) < path_seconds(*b); });
		for (const json *run : runs) {
			const bool middle = run == runs[runs.size() / 2];
			curve line{.backend = backend,
				   .with = "steps",
				   .rows = timeline_of(*run),
				   .labels = {},
				   .faint = !middle};
			if (!line.rows.empty())
				(middle ? bold : faint).push_back(std::move(line));
		}
	}
	faint.insert(faint.end(), bold.begin(), bold.end());
	return faint;
}

double timeline_end(const selection &of)
{
	double end = 0, all = 0;
	for (const point *each : of)
		for (const json *run : each->runs)
			for (const auto &row : timeline_of(*run)) {
				all = std::max(all, row[0]);
				if (row[1] > 0 && run->value("recovery_ms", json{}).is_number())
					end = std::max(end, row[0]);
			}
	return end > 0 ? std::min(all, end * 1.6) : all;
}

std::vector<std::string> room_for_labels(double most, double share)
{
	const double step = std::pow(10, std::floor(std::log10(std::max(most, 1e-3))));
	return {fmt::format("set xrange [0:{:g}]", most / share),
		fmt::format("set xtics {:g}", most / step > 4   ? 4 * step
					      : most / step > 2 ? 2 * step
								: step)};
}

std::vector<std::string> bar_axes(const std::vector<std::string> &backends)
{
	std::vector<std::string> names;
	for (std::size_t i = 0; i < backends.size(); ++i)
		names.push_back(fmt::format("'{}' {}", backends[i], backends.size() - i));
	return {fmt::format("set ytics ({}) scale 0", fmt::join(names, ", ")), "unset grid", "set grid xtics",
		fmt::format("set yrange [0.3:{}.7]", backends.size())};
}

std::vector<curve> bar_curves(const selection &of)
{
	std::vector<curve> curves;
	const auto backends = backends_of(of);
	curve labels{.backend = "", .with = "labels", .rows = {}, .labels = {}};
	for (std::size_t i = 0; i < backends.size(); ++i) {
		const point &one = *of_backend(of, backends[i]).front();
		const double y = static_cast<double>(backends.size() - i);
		const auto bar = [&](const char *key, double half, bool pale) {
			const summary cost = one.figure(key);
			if (cost.n && cost.median > 0) // x, y, from x, to x, from y, to y
				curves.push_back(
					{.backend = backends[i],
					 .with = "boxxyerror",
					 .rows = {{cost.median / 2e3, y, 0, cost.median / 1e3, y - half, y + half}},
					 .labels = {},
					 .faint = pale});
			return cost;
		};
		const summary machine = bar("cpu_machine", 0.32, true);
		const summary own = bar("cpu_path_manager", 0.2, false);
		labels.rows.push_back({machine.median / 1e3, y});
		labels.labels.push_back(own.n && own.median > 0
						? fmt::format("{}, of it {}", in_words(unit::duration, machine.median),
							      in_words(unit::duration, own.median))
						: in_words(unit::duration, machine.median));
	}
	curves.push_back(std::move(labels));
	return curves;
}

} // namespace pm::report
