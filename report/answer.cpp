// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "report/answer.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "report/selection.hpp"

namespace pm::report {

namespace {

std::string list_of(const std::vector<std::string> &words)
{
	if (words.size() < 2)
		return words.empty() ? "" : words.front();
	return fmt::format("{} and {}", fmt::join(words.begin(), words.end() - 1, ", "), words.back());
}

// Points with a run that counts, but those that were made to lose: an overrun forced by a small buffer, and a small buffer.
selection as_it_comes(const std::vector<point> &points, part of, const std::string &place)
{
	selection all = select(points, of, place, "");
	std::erase_if(all, [](const point *each) {
		return each->runs.empty() || each->scenario == "overrun" || each->scenario == "buffer";
	});
	return all;
}

// Where most backends were measured; of places with as many, the first.
std::string main_place(const std::vector<point> &points, part of)
{
	std::string best;
	std::size_t most = 0;
	for (const std::string &place : places_of(points, of)) {
		const std::size_t count = backends_of(as_it_comes(points, of, place)).size();
		if (count > most) {
			most = count;
			best = place;
		}
	}
	return best;
}

// A backend's worst: the point where it lost the largest share of events.
struct worst {
	std::string backend{};
	const point *at = nullptr;
	double lost = 0, missing = 0; // the most of any run, events and paths at the end
};

std::vector<worst> worst_of(const selection &of)
{
	std::vector<worst> all;
	for (const std::string &backend : backends_of(of)) {
		worst one{.backend = backend};
		for (const point *each : of_backend(of, backend)) {
			const summary lost = each->figure("lost_share"), missing = each->figure("missing_at_end");
			if (!one.at || lost.most > one.lost || (lost.most == one.lost && missing.most > one.missing)) {
				one.at = each;
				one.lost = lost.most;
			}
			one.missing = std::max(one.missing, missing.most);
		}
		all.push_back(one);
	}
	return all;
}

double highest_rate(const selection &of)
{
	double most = 0;
	for (const point *each : of)
		most = std::max(most, each->rate());
	return most;
}

std::string worst_in_words(const worst &one)
{
	return fmt::format("{} lost {} at worst ({} at {})", one.backend, in_words(unit::share, one.lost),
			   one.at->scenario, in_words(unit::per_second, one.at->rate()));
}

// How long each took until every connection had its paths, after an overrun that was forced; and in how many of the runs.
std::vector<std::string> back_after_overrun(const selection &of)
{
	std::vector<std::string> back;
	for (const std::string &backend : backends_of(of)) {
		const point &one = *of_backend(of, backend).front();
		const summary lost = one.figure("lost_share"), took = one.figure("recovery");
		if (lost.n == 0 || lost.most == 0 || took.n == 0)
			continue;
		const auto all = one.values("recovery");
		back.push_back(fmt::format("{} {} ({} of {} runs)", backend, in_words(unit::duration, took.median),
					   took.n - static_cast<std::size_t>(std::count(all.begin(), all.end(), never)),
					   took.n));
	}
	return back;
}

// As it was in the main place; else in the first that has it.
std::string after_overrun(const std::vector<point> &points, const std::string &main)
{
	std::vector<std::string> places = places_of(points, part::stress);
	std::stable_partition(places.begin(), places.end(), [&](const std::string &each) { return each == main; });
	for (const std::string &place : places) {
		const auto back = back_after_overrun(select(points, part::stress, place, "overrun"));
		if (!back.empty())
			return fmt::format("; after an overrun that was forced{}, every path was back after: {}",
					   place == main ? "" : ' ' + place_in_words(place), list_of(back));
	}
	return "";
}

// "netlink and bpf", each with the highest rate at which it was measured; said once if that is the same for all.
std::string up_to_their_rates(const selection &of, const std::vector<std::string> &backends)
{
	std::vector<std::string> rates, words;
	for (const std::string &backend : backends)
		rates.push_back(in_words(unit::per_second, highest_rate(of_backend(of, backend))));
	if (std::count(rates.begin(), rates.end(), rates.front()) == std::ssize(rates))
		return fmt::format("{} (up to {})", list_of(backends), rates.front());
	for (std::size_t i = 0; i < backends.size(); ++i)
		words.push_back(fmt::format("{} (up to {})", backends[i], rates[i]));
	return list_of(words);
}

std::string loss_sentence(const std::vector<point> &points)
{
	const auto hearing = [&](part of) {
		return with_values(as_it_comes(points, of, main_place(points, of)), "lost_share");
	};
	const bool real = !hearing(part::stress).empty();
	const part of = real ? part::stress : part::replay;
	const std::string place = main_place(points, of);
	const selection heard = hearing(of);
	if (heard.empty())
		return fmt::format(
			"What is lost was not measured: no run of a backend that gets events counts, but for forced "
			"losses{}.",
			after_overrun(points, place));
	std::vector<std::string> none, some;
	for (const worst &one : worst_of(heard)) {
		if (one.lost == 0)
			none.push_back(one.backend);
		else
			some.push_back(worst_in_words(one));
	}
	std::string words = fmt::format(
		"Of the {} {}, ", real ? "events of real connections" : "replayed events", place_in_words(place));
	if (!none.empty())
		words += up_to_their_rates(heard, none) + " lost none in any run";
	if (!some.empty())
		words += (none.empty() ? "" : ", ") + list_of(some);
	std::vector<std::string> left;
	if (real)
		for (const worst &one : worst_of(as_it_comes(points, of, place)))
			if (one.missing > 0 && one.backend != "none")
				left.push_back(fmt::format("{} {}", one.backend, in_words(unit::share, one.missing)));
	if (real)
		words += left.empty() ? "; no connection lacked a path at the end"
				      : fmt::format("; connections that lacked a path at the end, at worst: {}",
						    list_of(left));
	const std::string forced = after_overrun(points, real ? place : "");
	return words + (real || !forced.empty() ? forced : "; with real connections it was not measured") + '.';
}

// "netlink 89 us, bpf 40 us", from the least.
std::vector<std::string> ranked(const selection &of, const char *key, const char *also)
{
	std::vector<std::pair<double, std::string>> all;
	for (const point *each : of) {
		const summary value = each->figure(key);
		if (value.n == 0)
			continue;
		std::string words = fmt::format("{} {}", each->backend, in_words(unit::duration, value.median));
		if (also && value.median < never)
			words += fmt::format(" ({})", in_words(unit::duration, each->figure(also).median));
		all.emplace_back(value.median, words);
	}
	std::sort(all.begin(), all.end());
	std::vector<std::string> words;
	for (auto &each : all)
		words.push_back(std::move(each.second));
	return words;
}

// Emulated, some code is slower than other by far more than on a processor.
bool is_emulated(const results &all, const std::string &place)
{
	const json::json_pointer own{"/virtual_machine/machine/processor"}, ours{"/machine/processor"};
	const json::json_pointer &at = place == "vm" && all.data.contains(own) ? own : ours;
	const json processor = all.data.value(at, json{});
	return processor.is_string() && processor.get<std::string>().find("TCG") != std::string::npos;
}

// One figure of all backends at the calmest load, in each place: "at 500/s on the host: kernel 42 us and netlink 62 us".
std::string calm_by_place(const results &all, const std::vector<point> &points, const char *key, const char *also)
{
	std::vector<std::string> words;
	for (const std::string &place : places_of(points, part::stress)) {
		const selection calm =
			side_by_side(with_values(largest_family(select(points, part::stress, place, "steady")), key),
				     which::lowest_rate);
		if (calm.empty())
			continue;
		words.push_back(fmt::format("at {} {}{}: {}", rates_in_words(calm), place_in_words(place),
					    is_emulated(all, place) ? " (emulated: not a processor's times)" : "",
					    list_of(ranked(calm, key, also))));
	}
	return fmt::format("{}", fmt::join(words, "; "));
}

std::string time_sentence(const results &all, const std::vector<point> &points)
{
	const std::string times = calm_by_place(all, points, "join_p50", "join_p99");
	if (times.empty())
		return "How long the second path takes was not measured: no steady run has timed it.";
	return fmt::format("The second path began after, in the median (and the 99th percentile), {}.", times);
}

// Why there is nothing of a backend: as it is said of this place, or else of another one.
std::string why_not(const results &all, const std::string &backend, const std::string &place)
{
	const json *found = nullptr;
	for (const json &each : all.data.at("left_out"))
		if (each.at("backend") == backend && is_of_all(each) && (!found || each.at("place") == place))
			found = &each;
	return found ? fmt::format("{}: {}", place_in_words(found->at("place")), found->at("reason").get<std::string>())
		     : "no run of it counts, but for forced losses";
}

// "lost up to 3 % of the events", "left up to 1 % of the connections without a path", or both.
std::string losses(const worst &one)
{
	std::vector<std::string> words;
	if (one.lost > 0)
		words.push_back(fmt::format("lost up to {} of the events", in_words(unit::share, one.lost)));
	if (one.missing > 0)
		words.push_back(fmt::format("left up to {} of the connections without a path",
					    in_words(unit::share, one.missing)));
	return list_of(words);
}

bool loses_any(const worst &one) { return one.lost > 0 || one.missing > 0; }

// Those points of one backend under whose loads there is one of the other, too.
selection of_same_loads(const selection &of, const selection &other)
{
	selection chosen;
	std::copy_if(of.begin(), of.end(), std::back_inserter(chosen), [&](const point *each) {
		return std::any_of(other.begin(), other.end(),
				   [&](const point *its) { return its->key_of_load() == each->key_of_load(); });
	});
	return chosen;
}

// Of a place where netlink loses: whether bpf does better there.
std::string against_bpf(const results &all, const selection &there, const std::string &place)
{
	const selection of_netlink = of_backend(there, "netlink"), of_bpf = of_backend(there, "bpf");
	const auto own = [&](const worst &netlink) {
		return fmt::format("netlink {} {}", losses(netlink), place_in_words(place));
	};
	if (of_bpf.empty())
		return fmt::format("{}, and whether the kernel does better was not measured there (bpf, {})",
				   own(worst_of(of_netlink).front()), why_not(all, "bpf", place));
	const selection shared = of_same_loads(of_netlink, of_bpf);
	if (shared.empty() || !loses_any(worst_of(shared).front()))
		return fmt::format("{}, and whether the kernel does better was not measured under that load",
				   own(worst_of(of_netlink).front()));
	const worst netlink = worst_of(shared).front(), in_kernel = worst_of(of_same_loads(of_bpf, of_netlink)).front();
	if (!loses_any(in_kernel))
		return own(netlink) + ", where bpf did not: there the kernel is worth it";
	const bool worse = in_kernel.lost > netlink.lost || in_kernel.missing > netlink.missing,
		   better = in_kernel.lost < netlink.lost || in_kernel.missing < netlink.missing;
	return fmt::format("{}, and bpf {}{}", own(netlink), losses(in_kernel),
			   better && worse ? ""
			   : better        ? ", which is less"
					   : ", which is no better");
}

// Of a place where netlink loses nothing, while it does elsewhere.
std::string beside_bpf(const selection &netlink, const selection &bpf, const std::string &place)
{
	const std::string there = place_in_words(place);
	if (const worst in_kernel = worst_of(bpf).front(); loses_any(in_kernel))
		return fmt::format("{} bpf {} and netlink did not", there, losses(in_kernel));
	return fmt::format("{} netlink (up to {}) and bpf (up to {}) lost no event and left no connection without a path",
			   there, in_words(unit::per_second, highest_rate(netlink)),
			   in_words(unit::per_second, highest_rate(bpf)));
}

// What follows for the choice between netlink and the kernel, from what was lost behind both, in every place.
std::string verdict(const results &all, const std::vector<point> &points)
{
	std::vector<std::string> rates, netlink_loses, bpf_loses, elsewhere;
	bool bpf_measured = false;
	for (const std::string &place : places_of(points, part::stress)) {
		const selection there = as_it_comes(points, part::stress, place);
		const selection netlink = of_backend(there, "netlink"), bpf = of_backend(there, "bpf");
		bpf_measured = bpf_measured || !bpf.empty();
		if (!bpf.empty() && loses_any(worst_of(bpf).front()))
			bpf_loses.push_back(losses(worst_of(bpf).front()) + ' ' + place_in_words(place));
		if (netlink.empty())
			continue;
		rates.push_back(fmt::format("up to {} {}", in_words(unit::per_second, highest_rate(netlink)),
					    place_in_words(place)));
		if (loses_any(worst_of(netlink).front()))
			netlink_loses.push_back(against_bpf(all, there, place));
		else if (!bpf.empty())
			elsewhere.push_back(beside_bpf(netlink, bpf, place));
	}
	const std::string main = main_place(points, part::stress);
	if (rates.empty())
		return fmt::format("netlink was not measured ({})", why_not(all, "netlink", main));
	if (!netlink_loses.empty()) {
		netlink_loses.insert(netlink_loses.end(), elsewhere.begin(), elsewhere.end());
		return fmt::format("{}", fmt::join(netlink_loses, "; "));
	}
	const std::string enough = "netlink is good enough for all that was tried, " + list_of(rates);
	if (!bpf_measured)
		return fmt::format("{}, and whether the kernel does better was not measured (bpf, {})", enough,
				   why_not(all, "bpf", main));
	return enough + (bpf_loses.empty() ? ", and bpf lost nothing either" : ", while bpf " + list_of(bpf_loses));
}

std::string cost_sentence(const results &all, const std::vector<point> &points)
{
	if (places_of(points, part::stress).empty())
		return "What a connection costs was not measured: there is no run with real connections.";
	const std::string costs = calm_by_place(all, points, "cpu_machine", nullptr);
	const std::string cost = costs.empty() ? "What a connection costs was not measured"
					       : "A connection cost the machine, in processor time, " + costs;
	return fmt::format("{}; {}.", cost, verdict(all, points));
}

} // namespace

std::vector<std::string> answer(const results &all, const std::vector<point> &points)
{
	return {loss_sentence(points), time_sentence(all, points), cost_sentence(all, points)};
}

} // namespace pm::report
