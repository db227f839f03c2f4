// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/stress.hpp"

#include <algorithm>
#include <ctime>
#include <optional>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "replay/endpoints.hpp"
#include "replay/interrupt.hpp"

namespace pm::replay {

namespace {

constexpr std::uint64_t fewest_for_a_rate = 2000; // connections

class stressing {
public:
	stressing(const stress_options &options, const stress_progress &progress, const stress_keeper &keep)
		: options_(options), progress_(progress), keep_(keep)
	{
		results_.started = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
	}

	stress_results all()
	{
		const auto done = carry_out();
		results_.complete = done.has_value();
		if (!done && !interrupted())
			results_.failure = done.error().text;
		return std::move(results_);
	}

private:
	// A plan through a path manager.
	struct job {
		const stress_plan *plan;
		const contender_info *backend;
	};

	expected<void> carry_out()
	{
		const auto jobs = choose_jobs();
		if (options_.probe_repetitions > 0 && !jobs.empty())
			if (auto measured = measure_probes(jobs); !measured)
				return measured;
		const double count = static_cast<double>(jobs.size()) * options_.repetitions;
		for (unsigned repetition = 0; repetition < options_.repetitions; ++repetition) {
			for (std::size_t i = 0; i < jobs.size(); ++i) {
				const job &next = jobs[turn(i, repetition, jobs.size())];
				progress_(static_cast<double>(results_.runs.size()) / count,
					  fmt::format("{} through {}", next.plan->scenario, next.backend->name));
				if (auto ran = run(next, repetition + 1); !ran)
					return ran;
			}
			// Where nothing works at all, there is no point in going on.
			if (results_.runs.size() == not_made_) {
				results_.runs.clear();
				return jobs.empty() ? expected<void>{} : fail(first_not_made_);
			}
		}
		return {};
	}

	// Each repetition begins with another one of the path managers, so that none always follows the same.
	std::size_t turn(std::size_t i, unsigned repetition, std::size_t jobs) const
	{
		return jobs ? (i + repetition) % jobs : 0;
	}

	std::vector<job> choose_jobs()
	{
		std::vector<job> jobs;
		for (const stress_plan &plan : options_.plans)
			for (const contender_info *backend : options_.through) {
				const auto possible = check(plan, *backend);
				if (possible)
					jobs.push_back({&plan, backend});
				else
					leave_out(*backend, possible.error().text);
			}
		return jobs;
	}

	expected<void> check(const stress_plan &plan, const contender_info &backend) const
	{
		const auto options = options_of({&plan, &backend}, 1);
		if (auto possible = backend.check(options_for(options)); !possible)
			return possible;
		for (const bool ipv6 : {false, true}) {
			if (!(ipv6 ? plan.load.ipv6 : plan.load.ipv4) || !backend.opens_paths)
				continue;
			const unsigned planned = planned_subflows(options, ipv6, plan.load.paths);
			if (planned > most_kernel_subflows)
				return fail(fmt::format(
					"{} plans {} further subflows for a connection, and the server's kernel "
					"takes {}: ask for fewer paths, or announce fewer addresses",
					options_.policy->name, planned, most_kernel_subflows));
		}
		return {};
	}

	void leave_out(const contender_info &backend, const std::string &reason, const char *part = "")
	{
		const auto same = [&](const stress_results::absent &each) {
			return each.backend == backend.name && each.reason == reason && each.part == part;
		};
		if (std::none_of(results_.left_out.begin(), results_.left_out.end(), same))
			results_.left_out.push_back({std::string{backend.name}, reason, part});
	}

	stress_run_options options_of(const job &one, unsigned repetition) const
	{
		stress_run_options options;
		options.plan = one.plan;
		options.backend = one.backend;
		options.policy = options_.policy;
		options.settings = options_.settings;
		options.assignments = options_.assignments;
		options.repetition = repetition;
		return options;
	}

	// A run that could not be made is kept as one that does not count.
	expected<void> run(const job &one, unsigned repetition)
	{
		auto ran = run_stress(options_of(one, repetition));
		if (interrupted())
			return fail_interrupted();
		if (!ran) {
			if (not_made_++ == 0)
				first_not_made_ = ran.error().text;
			stress_run failed;
			failed.plan = *one.plan;
			failed.backend = one.backend->name;
			failed.policy = options_.policy->name;
			failed.assignments = options_.assignments;
			failed.repetition = repetition;
			failed.excluded = "it could not be made: " + ran.error().text;
			ran = std::move(failed);
		}
		results_.runs.push_back(std::move(*ran));
		return keep_ ? keep_(results_) : expected<void>{};
	}

	// With the path manager whose events are counted, if there is one: that is where most of the counting is.
	expected<void> measure_probes(const std::vector<job> &jobs)
	{
		const auto heard = std::find_if(jobs.begin(), jobs.end(),
						[](const job &each) { return each.backend->name == "netlink"; });
		const contender_info &backend = heard == jobs.end() ? *jobs.front().backend : *heard->backend;
		stress_plan plan;
		plan.scenario = "steady";
		plan.load = jobs.front().plan->load;
		plan.load.rate = full_rate;
		plan.load.hold_ms = 10;
		plan.load.contention = plan.load.announced = 0;
		plan.load.connections = std::max(plan.load.connections, fewest_for_a_rate);
		plan.steps = {{plan.load.connections, full_rate}};
		progress_(0, what_counting_costs);
		const auto pairs = run_with_and_without_probes(options_of({&plan, &backend}, 1),
							       options_.probe_repetitions);
		if (interrupted())
			return fail_interrupted();
		if (!pairs) {
			leave_out(backend, pairs.error().text, what_counting_costs);
			return {};
		}
		std::vector<double> with, without, ratio;
		for (const probe_pair &each : *pairs) {
			with.push_back(each.with);
			without.push_back(each.without);
			ratio.push_back(each.with / each.without);
		}
		results_.probes = probe_cost{summarize(with), summarize(without), summarize(ratio), interval_of_median(ratio),
					     std::string{backend.name}};
		return {};
	}

	const stress_options &options_;
	const stress_progress &progress_;
	const stress_keeper &keep_;
	stress_results results_;
	std::size_t not_made_ = 0; // of its runs
	std::string first_not_made_; // why
};

} // namespace

// Each reason once, behind those that have it.
std::string stress_results::why_nothing_ran(const std::vector<absent> &all)
{
	std::vector<std::pair<std::string, std::string>> by_reason;
	for (const absent &each : all) {
		auto same = std::find_if(by_reason.begin(), by_reason.end(),
					 [&](const auto &known) { return known.first == each.why(); });
		if (same == by_reason.end())
			by_reason.emplace_back(each.why(), each.backend);
		else if (same->second.find(each.backend) == std::string::npos)
			same->second += ", " + each.backend;
	}
	std::string words = "nothing of this can be run here";
	for (std::size_t i = 0; i < by_reason.size(); ++i)
		words += fmt::format("{}{}: {}", i ? "; " : ": ", by_reason[i].second, by_reason[i].first);
	return words;
}

stress_results stress(const stress_options &options, const stress_progress &progress, const stress_keeper &keep)
{
	return stressing(options, progress, keep).all();
}

} // namespace pm::replay
