// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "report/selection.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "report/gnuplot.hpp"

namespace pm::report {

namespace {

template <class List, class Value>
void add_once(List &list, const Value &value)
{
	if (std::find(list.begin(), list.end(), value) == list.end())
		list.push_back(value);
}

// The group with the best mark, of those that `group` puts points into; the first of equals.
template <class Group, class Mark>
selection best_group(const selection &of, Group &&group, Mark &&mark)
{
	std::vector<std::string> names;
	std::map<std::string, selection> groups;
	for (const point *each : of) {
		add_once(names, group(*each));
		groups[group(*each)].push_back(each);
	}
	const auto best = std::max_element(names.begin(), names.end(), [&](const std::string &a, const std::string &b) {
		return mark(groups[a]) < mark(groups[b]);
	});
	return best == names.end() ? selection{} : groups[*best];
}

std::size_t rank_of(const std::string &backend)
{
	return static_cast<std::size_t>(&style_of(backend) - backend_styles().data());
}

} // namespace

std::vector<std::string> places_of(const std::vector<point> &points, part of)
{
	std::vector<std::string> places;
	for (const point &each : points)
		if (each.of == of)
			add_once(places, each.place);
	return places;
}

std::string place_in_words(const std::string &place)
{
	if (place == "host")
		return "on the host";
	return place == "vm" ? "in the virtual machine" : "in " + place;
}

selection select(const std::vector<point> &points, part of, const std::string &place, std::string_view scenario)
{
	selection chosen;
	for (const point &each : points)
		if (each.of == of && each.place == place && (scenario.empty() || each.scenario == scenario))
			chosen.push_back(&each);
	return chosen;
}

selection with_values(const selection &of, std::string_view figure)
{
	selection chosen;
	std::copy_if(of.begin(), of.end(), std::back_inserter(chosen),
		     [&](const point *each) { return !each->values(figure).empty(); });
	return chosen;
}

selection largest_family(const selection &of, std::string_view also)
{
	const auto family = [&](const point &one) {
		json rest = one.load;
		for (const std::string_view name : {std::string_view{"rate"}, std::string_view{"connections"}, also})
			rest.erase(std::string{name});
		return one.scenario + one.policy_in_words() + rest.dump();
	};
	return best_group(of, family, [](const selection &each) { return each.size(); });
}

selection side_by_side(const selection &of, which rate)
{
	const auto load = [](const point &one) { return one.scenario + one.policy_in_words() + one.load.dump(); };
	const auto mark = [&](const selection &each) {
		const double mean = each.front()->rate();
		return std::pair{backends_of(each).size(), rate == which::lowest_rate ? -mean : mean};
	};
	return best_group(of, load, mark);
}

std::vector<std::string> backends_of(const selection &of)
{
	std::vector<std::string> names;
	for (const point *each : of)
		add_once(names, each->backend);
	std::stable_sort(names.begin(), names.end(),
			 [](const std::string &a, const std::string &b) { return rank_of(a) < rank_of(b); });
	return names;
}

selection of_backend(const selection &of, std::string_view backend)
{
	selection chosen;
	std::copy_if(of.begin(), of.end(), std::back_inserter(chosen),
		     [&](const point *each) { return each->backend == backend; });
	std::stable_sort(chosen.begin(), chosen.end(),
			 [](const point *a, const point *b) { return a->rate() < b->rate(); });
	return chosen;
}

std::string rates_in_words(const selection &of)
{
	if (of.empty() || !of.front()->at_full_rate())
		return of.empty() ? "" : in_words(unit::per_second, of.front()->rate());
	double least = HUGE_VAL, most = 0;
	for (const point *each : of) {
		least = std::min(least, each->rate());
		most = std::max(most, each->rate());
	}
	return fmt::format("full rate ({} to {})", in_words(unit::per_second, least), in_words(unit::per_second, most));
}

std::string shell_word(const std::string &word)
{
	if (word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:=/,") ==
	    std::string::npos)
		return word;
	std::string all{"'"};
	for (const char each : word)
		all += each == '\'' ? std::string{"'\\''"} : std::string{each};
	return all + '\'';
}

namespace {

std::string policy_options(const point &one)
{
	std::string words = "--policy " + one.policy;
	for (const std::string &each : one.settings)
		words += " --set " + shell_word(each);
	return words;
}

// The options of the load of one point, where they are not the usual ones and not its scenario's own.
std::string load_options(const point &one)
{
	const auto number = [&](const char *name) {
		return one.load.value(name, json{}).is_number() ? one.load[name].get<double>() : 0.0;
	};
	const auto is = [&](const char *name) { return one.scenario == name; };
	std::string words = fmt::format("--scenario {} {} --connections {:.0f} --rate {}", one.scenario,
					policy_options(one), number("connections"),
					one.at_full_rate() ? "max" : fmt::format("{:g}", one.rate()));
	const auto add = [&](const char *option, double value, bool unusual) {
		if (value > 0 && unusual)
			words += fmt::format(" {} {:g}", option, value);
	};
	add("--paths", number("paths"), number("paths") > 2);
	if (const json families = one.load.value("families", json{}); families.is_string() && families != "4")
		words += " --families " + families.get<std::string>();
	if (number("hold_ms") != 30 && one.load.contains("hold_ms") && !is("mobility") && !is("overrun"))
		words += fmt::format(" --hold {:.0f}", number("hold_ms"));
	if (number("buffer_bytes") > 0 && number("buffer_bytes") != 8 << 20 && !is("buffer") && !is("overrun"))
		words += fmt::format(" --buffer {:.0f}", number("buffer_bytes"));
	add("--announce", number("announced"), true);
	add("--contention", number("contention"), true);
	if (one.load.value("priority", json{}) == "lower" && !is("contention"))
		words += " --priority lower";
	add("--delay", number("delay_us") / 1e3, true);
	add("--bandwidth", number("megabits"), true);
	return words;
}

} // namespace

std::string command_for(const selection &of)
{
	std::string all;
	std::set<std::string> known;
	for (const point *each : of) {
		const std::string words = load_options(*each);
		if (!known.insert(words).second)
			continue;
		std::string line = fmt::format("pathlab stress --through {} {} -n {}", fmt::join(backends_of(of), ","),
					       words, std::max<std::size_t>(1, each->runs.size()));
		if (each->place == "vm")
			line = fmt::format("mkdir -p OUT && ./run vm --share $PWD/OUT -- build/pathlab/{} -o OUT",
					   line);
		all += (all.empty() ? "" : "\n") + line;
	}
	return all;
}

std::string command_for_replays(const std::string &comparison)
{
	constexpr std::string_view compare = "pathlab compare";
	if (!comparison.starts_with(compare) || comparison.find(" --only ") != std::string::npos)
		return comparison;
	return fmt::format("{} --only replay{}", compare, comparison.substr(compare.size()));
}

} // namespace pm::report
