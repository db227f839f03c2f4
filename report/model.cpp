// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "report/model.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/selection.hpp"

namespace pm::report {

namespace {

// mptcpd as it comes does not set its buffer: the kernel's usual one has room for so many.
constexpr double room_of_stock = 256;
constexpr double longest_pause_s = 2;

double number(const point &at, const char *name)
{
	return at.load.value(name, json{}).is_number() ? at.load[name].get<double>() : 0;
}

double median_of(const point &at, const char *where)
{
	std::vector<double> all;
	for (const json *run : at.runs)
		if (const auto value = number_at(*run, where))
			all.push_back(*value);
	return summarize(all).median;
}

// The burst in a scenario's load, as replay/stress_scenario.cpp makes it.
burst burst_of(const point &at)
{
	const double all = number(at, "connections"), made = median_of(at, "/rate/made_per_s");
	const double rate = at.at_full_rate() ? made : at.rate();
	if (at.scenario == "flash-crowd")
		return {all / 2, 10 * rate, all};
	if (at.scenario == "step")
		return {all * 4 / 7, 4 * rate, all};
	return {all, rate, all};
}

double room_of(const service &by, const point &at)
{
	return by.fixed_events > 0 ? by.fixed_events : number(at, "buffer_bytes") / by.bytes_per_event;
}

double predicted(const service &by, const point &at) { return lost_share(by, burst_of(at), room_of(by, at)); }

double misfit(const service &by, const selection &to, double summary::*of)
{
	double sum = 0;
	for (const point *each : to)
		sum += std::abs(predicted(by, *each) - each->figure("lost_share").*of);
	return sum;
}

double most_lost(const point *of) { return of->figure("lost_share").most; }

// The pause that fits best; of equals the shortest.
double best_pause(service by, const selection &to, double summary::*of)
{
	double best = 0, least = misfit(by, to, of);
	for (double pause = 1e-5; pause < longest_pause_s; pause *= 1.03) {
		by.pause_s = pause;
		if (const double now = misfit(by, to, of); now < least - 1e-9) {
			least = now;
			best = pause;
		}
	}
	return best;
}

// Events per connection, and how fast they are read: where they come fastest, reading one costs least.
void measure_service(service &by, const selection &of)
{
	double fastest = 0;
	for (const point *each : of) {
		const double emitted = median_of(*each, "/events/emitted"),
			     made = median_of(*each, "/connections/made");
		const summary cost = each->figure("cpu_path_manager");
		if (emitted > 0 && made > 0 && cost.median > 0 && each->rate() > fastest &&
		    each->scenario == "steady") {
			fastest = each->rate();
			by.events_per_connection = emitted / made;
			by.events_per_s = by.events_per_connection * 1e9 / cost.median;
		}
	}
}

std::vector<double> errors_of(const std::vector<checked_point> &checks)
{
	std::vector<double> errors;
	for (const checked_point &each : checks)
		if (each.predicted > 0 || each.most > 0)
			errors.push_back(std::abs(each.predicted - each.measured));
	return errors;
}

} // namespace

double longest_queue(const service &by, const burst &of)
{
	const double events = of.connections * by.events_per_connection, per_s = of.per_s * by.events_per_connection;
	const double away = std::min(events, per_s * by.pause_s);
	return per_s <= by.events_per_s ? away : away + (events - away) * (1 - by.events_per_s / per_s);
}

double lost_share(const service &by, const burst &of, double room)
{
	const double all = of.all * by.events_per_connection;
	return all > 0 ? std::clamp((longest_queue(by, of) - room) / all, 0.0, 1.0) : 0;
}

double buffer_for(const service &by, const burst &of, double share)
{
	return std::max(0.0, longest_queue(by, of) - share * of.all * by.events_per_connection) * by.bytes_per_event;
}

std::size_t fitted_model::telling() const { return errors_of(checks).size(); }
double fitted_model::median_error() const { return summarize(errors_of(checks)).median; }
double fitted_model::largest_error() const { return summarize(errors_of(checks)).most; }

std::optional<fitted_model> fit_model(const std::vector<point> &points, const std::string &place,
				      const std::string &backend)
{
	const selection all = with_values(of_backend(select(points, part::stress, place, ""), backend), "lost_share");
	fitted_model model{.backend = backend,
			   .place = place,
			   .by = {},
			   .at_worst = {},
			   .fitted_to_loss = false,
			   .checks = {}};
	if (backend == "mptcpd-stock")
		model.by.fixed_events = room_of_stock;
	if (backend == "ringbuf")
		model.by.bytes_per_event = bytes_in_ring;
	measure_service(model.by, all);
	if (model.by.events_per_s <= 0)
		return {};
	selection fit, rest;
	for (const point *each : all)
		(each->scenario == "overrun" ? fit : rest).push_back(each);
	if (fit.empty()) { // every second one, then, and the one that lost most
		std::stable_sort(rest.begin(), rest.end(),
				 [](const point *a, const point *b) { return most_lost(a) > most_lost(b); });
		for (std::size_t i = 0; i < rest.size(); i += 2)
			fit.push_back(rest[i]);
		std::erase_if(rest,
			      [&](const point *each) { return std::find(fit.begin(), fit.end(), each) != fit.end(); });
	}
	model.fitted_to_loss = std::any_of(fit.begin(), fit.end(),
					   [](const point *each) { return most_lost(each) > 0; });
	model.at_worst = model.by;
	model.by.pause_s = best_pause(model.by, fit, &summary::median);
	model.at_worst.pause_s = best_pause(model.at_worst, fit, &summary::most);
	for (const point *each : rest) {
		const summary measured = each->figure("lost_share");
		model.checks.push_back(
			{each, predicted(model.by, *each), measured.median, measured.least, measured.most});
	}
	return model;
}

} // namespace pm::report
