// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/compare.hpp"

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <set>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "replay/compare_machine.hpp"
#include "replay/compare_runs.hpp"
#include "replay/compare_traces.hpp"
#include "replay/interrupt.hpp"
#include "replay/machine.hpp"
#include "replay/output_folder.hpp"

namespace pm::replay {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

struct job {
	std::string trace;       // path
	pacing pace;
	std::uint64_t most_events;
};

std::string name_of(const pacing &pace)
{
	if (const auto *rate = std::get_if<at_rate>(&pace))
		return fmt::format("{:.0f}/s", rate->events_per_s);
	if (const auto *own = std::get_if<at_own_times>(&pace))
		return fmt::format("own times x{:g}", own->speed);
	return "full rate";
}

std::string mode_of(extent how_much)
{
	return how_much == extent::quick ? "--quick" : how_much == extent::full ? "--full" : "";
}

// In short: of stress each scenario with its rate and its connections.
json loads_of(const compare_options &options)
{
	json all = json::array();
	for (const stress_plan &each : options.plans)
		all.push_back(fmt::format("{} {:g} {}", each.scenario, each.load.rate, each.load.connections));
	return all;
}

// What has to be the same for a comparison to be gone on with.
json about(const compare_options &options)
{
	return {{"extent", mode_of(options.how_much)},
		{"policy", options.policy->name},
		{"settings", options.assignments},
		{"buffer_bytes", options.buffer_bytes},
		{"loads", loads_of(options)},
		{"kernel", describe_machine().at("kernel")},
		{"pathlab", describe_versions().at("pathlab")},
		{"method", describe_versions().at("method")}};
}

// part: what of the backend, if it is not all of it.
json left_out(std::string_view backend, const std::string &place, const std::string &reason,
	      const std::string &part = {})
{
	return {{"backend", backend},
		{"place", place},
		{"part", part.empty() ? json(nullptr) : json(part)},
		{"reason", reason}};
}

expected<std::vector<job>> make_jobs(const compare_options &options, const std::string &recorded, output_folder &folder)
{
	std::vector<job> jobs;
	for (const double rate : options.rates) {
		const auto in_time = static_cast<std::uint64_t>(rate * options.seconds);
		jobs.push_back({recorded, at_rate{rate}, in_time});
		const std::string burst = folder.add(fmt::format("burst-{:.0f}.pcap", rate));
		const auto events = generate_burst(burst, rate); // the same for the same rate
		if (!events)
			return tl::unexpected(events.error());
		jobs.push_back({burst, at_own_times{}, std::min(events->at_once + in_time, events->while_opened)});
	}
	jobs.push_back({recorded, at_full_rate{}, 0});
	if (!options.rates.empty())
		jobs.push_back(
			{fmt::format("{}/burst-{:.0f}.pcap", options.folder, options.rates.back()), at_full_rate{}, 0});
	return jobs;
}

expected<run_report> run_job(const compare_options &options, const job &job, const backend_info &through)
{
	run_options one;
	one.stream = {.trace = job.trace, .most_events = job.most_events, .tail_events = options.tail_events};
	one.pace = job.pace;
	one.through = &through;
	one.backend.policy = options.policy;
	one.backend.settings = options.settings;
	one.backend.buffer_bytes = options.buffer_bytes;
	one.assignments = options.assignments;
	return run(one);
}

// Carries it out part by part; whatever ends it, what was finished is in result().
class comparing {
public:
	comparing(const compare_options &options, const progress &tell, const comparison_keeper &keep,
		  output_folder &folder, kept_runs &kept)
		: options_(options), tell_(tell), keep_(keep), folder_(folder), kept_(kept)
	{
		result_.started = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
	}

	expected<void> all()
	{
		const bool inside = std::string_view{this_place()} == "vm";
		// In the machine first what only it can tell of every backend.
		for (const bool replays : {!inside, inside}) {
			if (!(replays ? options_.replays : options_.stresses))
				continue;
			if (auto done = replays ? replay_everything() : stress_everything(); !done)
				return done;
		}
		if (!inside)
			if (auto done = all_in_machine(); !done)
				return done;
		result_.complete = true;
		return {};
	}
	comparison &result() { return result_; }

private:
	// Whatever was measured stays, from the first run on; where it was measured and what could not be is beside it, for who
	// started us in a virtual machine, and reads what there is however that ended.
	expected<void> keep(const std::string &name, const json &what)
	{
		folder_.keep();
		if (!said_where_) {
			const json here{{"machine", describe_machine()}, {"versions", describe_versions()}};
			if (auto kept = kept_.keep("where", here); !kept)
				return kept;
			said_where_ = true;
		}
		if (auto kept = kept_.keep(name, what); !kept)
			return kept;
		if (auto kept = kept_.keep("left-out", result_.left_out); !kept)
			return kept;
		return keep_ ? keep_(result_) : expected<void>{};
	}

	void leave_out(const json &what)
	{
		for (const json &each : result_.left_out)
			if (each == what)
				return;
		result_.left_out.push_back(what);
	}

	expected<void> record(const std::string &file)
	{
		const auto before = kept_.find("recording");
		if (before && fs::exists(file)) {
			result_.recording = *before;
			recording_is_kept_ = true;
			return {};
		}
		tell_(0, fmt::format("recording {} real connections", options_.connections));
		auto recording = record_connections(file, options_.connections, 2000);
		if (!recording)
			return tl::unexpected(recording.error());
		result_.recording = std::move(*recording);
		return {};
	}

	expected<void> replay_everything()
	{
		const std::string recorded = folder_.add("recorded.pcap");
		if (auto done = record(recorded); !done)
			return done;
		const auto jobs = make_jobs(options_, recorded, folder_);
		if (!jobs)
			return tl::unexpected(jobs.error());
		const auto through = backends();
		const std::size_t all = options_.repetitions * jobs->size() * through.size();
		std::size_t done = 0;
		for (unsigned repetition = 0; repetition < options_.repetitions; ++repetition)
			for (std::size_t j = 0; j < jobs->size(); ++j)
				for (std::size_t i = 0; i < through.size(); ++i) {
					// Interleaved, and each repetition begins with another one: none is always the first after a pause.
					const backend_info &backend = through[(i + repetition) % through.size()];
					const job &next = (*jobs)[j];
					tell_(static_cast<double>(done++) / static_cast<double>(all) / parts(),
					      fmt::format("{} at {} through {}, repetition {}",
							  fs::path{next.trace}.stem().string(), name_of(next.pace),
							  backend.name, repetition + 1));
					const std::string name = fmt::format("replay-{:02}-{}-{}", j, backend.name,
									     repetition + 1);
					if (auto ran = replay_once(next, backend, name); !ran)
						return ran;
				}
		return {};
	}

	// One that does not work is left out from then on, unless it is the first of all: then nothing does.
	expected<void> replay_once(const job &next, const backend_info &backend, const std::string &name)
	{
		if (absent_.count(backend.name))
			return {};
		if (auto before = kept_.find(name)) {
			result_.replays.push_back(std::move(*before));
			return {};
		}
		auto ran = run_job(options_, next, backend);
		if (interrupted())
			return fail_interrupted();
		if (!ran) {
			if (backend.name == backends().back().name && result_.replays.empty())
				return tl::unexpected(ran.error());
			absent_.insert(backend.name);
			leave_out(left_out(backend.name, this_place(), ran.error().text, "replays"));
			return {};
		}
		if (!std::exchange(recording_is_kept_, true))
			if (auto kept = keep("recording", result_.recording); !kept)
				return kept;
		result_.replays.push_back(ran->to_json());
		return keep(name, result_.replays.back());
	}

	// Why nothing at all could be run, if nothing could.
	expected<void> check_that_something_ran() const
	{
		if (!result_.replays.empty() || !result_.stresses.empty())
			return {};
		std::vector<stress_results::absent> all;
		for (const json &each : result_.left_out)
			all.push_back({each.at("backend"), each.at("reason"),
				       each.at("part").is_null() ? "" : each.at("part").get<std::string>()});
		return fail(stress_results::why_nothing_ran(all));
	}

	expected<void> stress_everything()
	{
		const auto through = contenders();
		if (!options_.scenarios_left_out.empty())
			for (const contender_info &each : through)
				leave_out(left_out(each.name, this_place(),
						   fmt::format("that takes long there; {} it is there",
							       options_.how_much == extent::quick ? "without --quick"
												  : "with --full"),
						   fmt::format("{}", fmt::join(options_.scenarios_left_out, ", "))));
		if (auto done = measure_probes(); !done)
			return done;
		const std::size_t all = options_.repetitions * options_.plans.size() * through.size();
		std::size_t done = 0;
		for (unsigned repetition = 0; repetition < options_.repetitions; ++repetition)
			for (std::size_t p = 0; p < options_.plans.size(); ++p) {
				for (std::size_t i = 0; i < through.size(); ++i) {
					const contender_info &backend = through[(i + repetition) % through.size()];
					const stress_plan &plan = options_.plans[p];
					tell_((options_.replays +
					       static_cast<double>(done++) / static_cast<double>(all)) /
						      parts(),
					      fmt::format("{} through {}, repetition {}", plan.scenario, backend.name,
							  repetition + 1));
					const std::string name = fmt::format("stress-{:02}-{}-{}-{}", p, plan.scenario,
									     backend.name, repetition + 1);
					if (auto ran = stress_once(plan, backend, repetition + 1, name); !ran)
						return ran;
				}
				if (auto some = check_that_something_ran(); !some)
					return some;
			}
		return {};
	}

	stress_options one_stress(const stress_plan &plan, const contender_info &backend) const
	{
		stress_options one;
		one.through = {&backend};
		one.plans = {plan};
		one.policy = options_.policy;
		one.settings = options_.settings;
		one.assignments = options_.assignments;
		return one;
	}

	expected<void> measure_probes()
	{
		if (auto before = kept_.find("probes")) {
			result_.probes = std::move(*before);
			return {};
		}
		if (options_.probe_repetitions == 0 || options_.plans.empty())
			return {};
		const auto netlink = find_contender("netlink");
		if (!netlink)
			return tl::unexpected(netlink.error());
		stress_options one = one_stress(options_.plans.front(), **netlink);
		one.probe_repetitions = options_.probe_repetitions;
		one.repetitions = 0;
		const auto measured = stress(one, [&](double, const std::string &what) {
			tell_(options_.replays / parts(), what);
		});
		if (interrupted())
			return fail_interrupted();
		for (const auto &absent : measured.left_out)
			leave_out(left_out(absent.backend, this_place(), absent.reason, absent.part));
		if (!measured.failure.empty())
			leave_out(left_out((*netlink)->name, this_place(), measured.failure, what_counting_costs));
		result_.probes = measured.to_json("").at("probes");
		return result_.probes.is_null() ? expected<void>{} : keep("probes", result_.probes);
	}

	expected<void> stress_once(const stress_plan &plan, const contender_info &backend, unsigned repetition,
				   const std::string &name)
	{
		if (auto before = kept_.find(name)) {
			result_.stresses.push_back(std::move(*before));
			return {};
		}
		if (options_.how_much != extent::full && backend.name == "mptcpd-stock" &&
		    (plan.scenario == "overrun" || plan.scenario == "mobility")) {
			leave_out(left_out(backend.name, this_place(),
					   "waiting for paths that it never opens takes long; with --full it is there",
					   plan.scenario));
			return {};
		}
		const auto ran = stress(one_stress(plan, backend), [](double, const std::string &) {});
		if (interrupted())
			return fail_interrupted();
		for (const auto &absent : ran.left_out)
			leave_out(left_out(absent.backend, this_place(), absent.reason));
		if (!ran.runs.empty()) {
			json run = ran.runs.front().to_json();
			run["repetition"] = repetition;
			result_.stresses.push_back(run);
			return keep(name, run);
		}
		if (ran.failure.empty())
			return {};
		leave_out(left_out(backend.name, this_place(), ran.failure, plan.scenario));
		return {};
	}

	bool replays_in_machine() const { return options_.replays && options_.how_much != extent::quick; }

	void leave_out_replays(const std::string &place, const std::string &why)
	{
		for (const backend_info &each : backends())
			leave_out(left_out(each.name, place, why, "replays"));
	}

	expected<void> all_in_machine()
	{
		const auto leave_out_all = [&](const std::string &why) {
			if (options_.stresses)
				for (const contender_info &each : contenders())
					leave_out(left_out(each.name, "vm", why));
			if (options_.replays)
				leave_out_replays("vm", why);
		};
		if (!options_.in_machine) {
			leave_out_all("the virtual machine was left out, by --host-only");
			return {};
		}
		const auto leave_out_what_takes_long = [&] {
			if (options_.replays && !replays_in_machine())
				leave_out_replays("vm", "that takes long there; without --quick it is there");
		};
		if (!options_.stresses && !replays_in_machine()) {
			leave_out_what_takes_long();
			return {};
		}
		tell_((options_.replays + options_.stresses) / parts(), "the same in the virtual machine of ./run vm");
		const std::string inside = options_.folder + "/vm";
		std::vector<std::string> words{"compare", "--policy", std::string{options_.policy->name}};
		if (!replays_in_machine())
			words.insert(words.end(), {"--only", "stress"});
		else if (!options_.stresses)
			words.insert(words.end(), {"--only", "replay"});
		for (const std::string &each : options_.assignments)
			words.insert(words.end(), {"--set", each});
		words.insert(words.end(), {"--buffer", std::to_string(options_.buffer_bytes)});
		if (options_.how_much != extent::usual)
			words.push_back(mode_of(options_.how_much));
		if (options_.resume && !read_kept(inside, "about").empty())
			words.push_back("--resume");
		else if (auto forgotten = forget_kept(inside); !forgotten)
			return forgotten;
		const machine_run ran = run_in_machine(words, inside, options_.machine_seconds);
		const bool has_run = read_machine(inside);
		if (interrupted())
			return fail_interrupted();
		if (!ran.no_machine.empty() && !has_run) {
			leave_out_all("there was no virtual machine: " + ran.no_machine);
			return {};
		}
		leave_out_what_takes_long();
		if (!ran.no_machine.empty())
			return fail("the virtual machine ended before the comparison in it did: " + ran.no_machine);
		if (!ran.failure.empty())
			return fail(ran.failure);
		return {};
	}

	// What was measured in the machine, however it ended; whether that is anything.
	bool read_machine(const std::string &inside)
	{
		auto replays = read_kept(inside, "replay-"), stresses = read_kept(inside, "stress-");
		for (const json &here : read_kept(inside, "where"))
			result_.machine = here;
		for (const char *beside : {"probes", "recording"})
			for (const json &kept : read_kept(inside, beside))
				if (result_.machine.is_object())
					result_.machine[beside] = kept;
		for (const json &all : read_kept(inside, "left-out"))
			for (const json &each : all)
				leave_out(each);
		for (json &run : replays)
			result_.replays.push_back(std::move(run));
		for (json &run : stresses)
			result_.stresses.push_back(std::move(run));
		return !replays.empty() || !stresses.empty();
	}

	double parts() const
	{
		return options_.replays + options_.stresses +
		       ((options_.stresses || replays_in_machine()) && options_.in_machine);
	}

	const compare_options &options_;
	const progress &tell_;
	const comparison_keeper &keep_;
	output_folder &folder_;
	kept_runs &kept_;
	comparison result_;
	bool said_where_ = false, recording_is_kept_ = false;
	std::set<std::string_view> absent_; // from the replays
};

} // namespace

expected<comparison> compare(const compare_options &options, const progress &tell, const comparison_keeper &keep)
{
	output_folder folder{options.folder};
	if (auto made = folder.make(); !made)
		return tl::unexpected(made.error());
	auto kept = kept_runs::open(options.folder, about(options), options.resume);
	if (!kept)
		return tl::unexpected(kept.error());
	if (kept->any())
		folder.keep();
	comparing one{options, tell, keep, folder, *kept};
	const auto done = one.all();
	comparison &result = one.result();
	if (!done) {
		if (result.replays.empty() && result.stresses.empty())
			return tl::unexpected(done.error());
		result.failure = interrupted() ? "" : done.error().text;
	}
	folder.keep();
	if (auto written = kept->keep("left-out", result.left_out); !written && result.complete) {
		result.complete = false;
		result.failure = written.error().text;
	}
	return std::move(result);
}

} // namespace pm::replay
