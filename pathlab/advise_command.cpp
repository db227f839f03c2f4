// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab advise: which backend and what buffer a load needs, by a small model fitted to what was measured here.
#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "pathlab/commands.hpp"
#include "pathlab/terminal.hpp"
#include "report/model.hpp"
#include "report/selection.hpp"

namespace pm::pathlab {

namespace {

constexpr double least_buffer = 4096, most_buffer = 1u << 28, most_number = 1e9;

struct options {
	std::string folder = "results", place = "host";
	double rate = 0, loss = 0;
	std::optional<double> burst, burst_rate;
	bool checks = false;
};

// What one backend needs for the load.
struct advice {
	report::fitted_model model;
	double busy = 0;   // share of its time that it reads, between bursts
	double buffer = 0; // bytes; 0: it cannot be had
	double lost = 0;   // with that buffer, the one that it has, or the largest
	[[nodiscard]] std::optional<bool> enough(double loss) const // nothing: it is not known
	{
		if (busy >= 1)
			return false;
		return model.fitted_to_loss ? std::optional{buffer > 0 && lost <= loss} : std::nullopt;
	}
};

advice advise(const report::fitted_model &model, const options &asked)
{
	const report::burst burst{*asked.burst, *asked.burst_rate, *asked.burst};
	advice one{.model = model};
	one.busy = asked.rate * model.at_worst.events_per_connection / model.at_worst.events_per_s;
	double wanted = report::buffer_for(model.at_worst, burst, asked.loss);
	wanted = std::max(least_buffer, std::exp2(std::ceil(std::log2(std::max(wanted, 1.0)))));
	if (model.at_worst.fixed_events > 0) {
		one.lost = report::lost_share(model.at_worst, burst, model.at_worst.fixed_events);
		one.buffer = model.at_worst.fixed_events * model.at_worst.bytes_per_event;
	} else {
		one.lost = report::lost_share(model.at_worst, burst,
					      std::min<double>(wanted, most_buffer) / model.at_worst.bytes_per_event);
		one.buffer = wanted <= most_buffer ? wanted : 0;
	}
	return one;
}

std::string size_in_words(double bytes)
{
	return bytes >= 1 << 20 ? fmt::format("{:.0f} MiB", bytes / (1 << 20))
				: fmt::format("{:.0f} KiB", bytes / 1024);
}

std::string verdict(const advice &one, const options &asked)
{
	if (one.busy >= 1)
		return "too slow for the rate";
	if (!one.enough(asked.loss))
		return "not known: it lost none";
	if (one.buffer == 0)
		return "no buffer is large enough";
	if (one.lost > asked.loss)
		return fmt::format("loses {}", format_share(one.lost));
	return one.model.by.fixed_events > 0 ? "enough as it is" : size_in_words(one.buffer);
}

// The first that is enough, in the order in which they ask least of the machine; else what is called by the kernel.
std::string recommendation(const std::vector<advice> &all, const std::vector<report::point> &points,
			   const options &asked)
{
	for (const char *backend : {"netlink", "ringbuf", "mptcpd", "mptcpd-stock"})
		for (const advice &one : all)
			if (one.model.backend == backend && one.enough(asked.loss).value_or(false))
				return one.model.by.fixed_events > 0
					       ? fmt::format("{} is enough", backend)
					       : fmt::format("{} with a buffer of {} ({:.0f} bytes) is enough", backend,
							     size_in_words(one.buffer), one.buffer);
	for (const advice &one : all)
		if (!one.enough(asked.loss))
			return fmt::format(
				"not known: {} lost no event where it was measured, so how much a buffer has to "
				"bridge does not show; the overruns of `pathlab compare` do show it",
				one.model.backend);
	double lost = 0;
	bool measured = false;
	for (const report::point &each : points)
		if (each.of == report::part::stress && each.backend == "bpf" && !each.values("lost_share").empty()) {
			measured = true;
			lost = std::max(lost, each.figure("lost_share").most);
		}
	if (measured)
		return fmt::format("nothing that reads events is enough; bpf, which the kernel calls, lost {} where it "
				   "was measured",
				   format_share(lost));
	return "nothing that was measured is enough, and bpf, which the kernel calls, was not measured";
}

nlohmann::json to_json(const advice &one, const options &asked)
{
	const bool known = one.model.fitted_to_loss;
	const auto enough = one.enough(asked.loss);
	nlohmann::json checks = nlohmann::json::array();
	for (const auto &each : one.model.checks)
		checks.push_back({{"point", each.at->key()},
				  {"predicted", each.predicted},
				  {"measured", each.measured},
				  {"min", each.least},
				  {"max", each.most}});
	return {{"backend", one.model.backend},
		{"place", one.model.place},
		{"events_per_s", one.model.by.events_per_s},
		{"events_per_connection", one.model.by.events_per_connection},
		{"pause_s",
		 known ? nlohmann::json{{"median", one.model.by.pause_s}, {"worst", one.model.at_worst.pause_s}}
		       : nlohmann::json(nullptr)},
		{"busy", one.busy},
		{"buffer_bytes", known && one.buffer > 0 ? nlohmann::json(one.buffer) : nlohmann::json(nullptr)},
		{"lost_share", known ? nlohmann::json(one.lost) : nlohmann::json(nullptr)},
		{"enough", enough ? nlohmann::json(*enough) : nlohmann::json(nullptr)},
		{"error",
		 {{"points", one.model.checks.size()},
		  {"with_loss", one.model.telling()},
		  {"median", one.model.median_error()},
		  {"largest", one.model.largest_error()}}},
		{"checks", checks}};
}

void print_checks(const std::vector<advice> &all)
{
	std::vector<std::vector<std::string>> rows{
		{"backend", "scenario", "load", "predicted", "measured", "(least..most)"}};
	for (const advice &one : all)
		for (const auto &each : one.model.checks)
			rows.push_back({one.model.backend, each.at->scenario, each.at->load_in_words(),
					format_share(each.predicted), format_share(each.measured),
					fmt::format("({}..{})", format_share(each.least), format_share(each.most))});
	fmt::print("\n{}", format_table(rows, 3));
}

void print(const std::vector<advice> &all, const options &asked, const std::string &recommended)
{
	fmt::print("For {} connections/s with bursts of {} at {}/s, and at most {} of a burst's events lost:\n{}.\n\n",
		   format_count(asked.rate), format_count(*asked.burst), format_count(*asked.burst_rate),
		   format_share(asked.loss), recommended);
	std::vector<std::vector<std::string>> rows{
		{"backend", "needs", "reads events/s", "away for", "busy", "model off by (median, most)",
		 "where any was lost"}};
	for (const advice &one : all)
		rows.push_back(
			{one.model.backend, verdict(one, asked), format_count(one.model.by.events_per_s),
			 one.model.fitted_to_loss ? format_duration(one.model.at_worst.pause_s * 1e9) : "not known",
			 fmt::format("{:.0f} %", 100 * one.busy),
			 one.model.telling() == 0 ? "not known"
						  : fmt::format("{:.1f}, {:.1f} points", 100 * one.model.median_error(),
								100 * one.model.largest_error()),
			 fmt::format("{} of {}", one.model.telling(), one.model.checks.size())});
	fmt::print("{}", format_table(rows, 2));
	if (asked.checks)
		print_checks(all);
}

expected<void> run(const options &given, context &all)
{
	options asked = given;
	const auto is_sensible = [](double number) { return number > 0 && number <= most_number; };
	if (!is_sensible(asked.rate) || !is_sensible(asked.burst.value_or(1)) ||
	    !is_sensible(asked.burst_rate.value_or(1)) || !(asked.loss >= 0 && asked.loss < 1))
		return fail_usage(
			"--rate, --burst and --burst-rate are numbers above 0, up to 1e9, --loss a share from 0 to "
			"below 1");
	asked.burst = asked.burst.value_or(asked.rate); // a second's worth
	asked.burst_rate = asked.burst_rate.value_or(10 * asked.rate);
	const auto read = report::read_results(asked.folder);
	if (!read)
		return tl::unexpected(read.error());
	const auto points = report::points_of(*read);
	std::vector<advice> advices;
	for (const std::string &backend :
	     report::backends_of(report::select(points, report::part::stress, asked.place, "")))
		if (const auto model = report::fit_model(points, asked.place, backend))
			advices.push_back(advise(*model, asked));
	if (advices.empty())
		return fail(fmt::format("{} has no steady stress run with events and their processor time ({}): "
					"measure with `pathlab compare`",
					asked.folder, report::place_in_words(asked.place)));
	const std::string recommended = recommendation(advices, points, asked);
	if (!all.json) {
		print(advices, asked, recommended);
		return {};
	}
	nlohmann::json list = nlohmann::json::array();
	for (const advice &one : advices)
		list.push_back(to_json(one, asked));
	fmt::print("{}\n", nlohmann::json{{"recommendation", recommended}, {"backends", list}}.dump(2));
	return {};
}

} // namespace

void add_advise(CLI::App &app, context &all)
{
	add_command<options>(
		app, all, "advise", "Say which backend and what buffer a load needs, from results",
		[](CLI::App &command, options &o) {
			command.add_option("DIR", o.folder,
					   "Folder with results.json, or such a file (default: results)");
			command.add_option("--rate", o.rate, "New connections per second, on average")->required();
			command.add_option("--burst", o.burst,
					   "Connections that come in a burst (default: a second's worth)");
			command.add_option("--burst-rate", o.burst_rate,
					   "How many per second these are (default: ten times the rate)");
			command.add_option("--loss", o.loss, "Share of a burst's events that may be lost (default: 0)");
			command.add_option("--place", o.place, "By what was measured there: host (default) or vm")
				->check(CLI::IsMember({"host", "vm"}));
			command.add_flag("--checks", o.checks,
					 "Show what the model predicts for each load that was measured");
		},
		&run);
}

} // namespace pm::pathlab
