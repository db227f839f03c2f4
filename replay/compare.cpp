// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/compare.hpp"

#include <algorithm>
#include <filesystem>
#include <map>
#include <thread>

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "replay/generate.hpp"
#include "replay/interrupt.hpp"
#include "replay/load.hpp"
#include "replay/record.hpp"

namespace pm::replay {

namespace fs = std::filesystem;

namespace {

// A burst larger than the default socket buffer holds (about 256 events), smaller than a large one does.
constexpr std::uint64_t burst_connections = 2000;
// What a generated connection of a client with two paths comes to, CLOSED included.
constexpr double events_per_connection = 7;

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

// The folder for the results. A comparison that fails before its first run has ended leaves nothing in it.
class output_folder {
public:
	explicit output_folder(const std::string &path) : path_(path) {}
	output_folder(const output_folder &) = delete;
	~output_folder()
	{
		std::error_code ignored;
		if (kept_)
			return;
		for (const std::string &file : files_)
			fs::remove(file, ignored);
		for (const fs::path &folder : made_)
			fs::remove(folder, ignored); // unless something else is in it
	}

	expected<void> make()
	{
		std::error_code error;
		for (fs::path folder = path_; !folder.empty() && !fs::exists(folder, error);
		     folder = folder.parent_path())
			made_.push_back(folder);
		fs::create_directories(path_, error);
		if (error || access(path_.c_str(), W_OK | X_OK) != 0)
			return fail(fmt::format("cannot write into the output folder {}: {}", path_,
						error ? error.message() : "no permission"));
		return {};
	}
	// The path of a file that is about to be written; one of an earlier comparison is not this one's to remove.
	std::string add(const std::string &name)
	{
		const std::string file = path_ + '/' + name;
		std::error_code ignored;
		if (!fs::exists(file, ignored))
			files_.push_back(file);
		return file;
	}
	void keep() { kept_ = true; }

private:
	std::string path_;
	std::vector<std::string> files_;
	std::vector<fs::path> made_;
	bool kept_ = false;
};

expected<std::uint64_t> generate_burst(const std::string &path, double events_per_s)
{
	auto writer = trace_writer::create(path,
					   {.id = 28, .events_group = 9, .description = netlink::encode_family(28, 9)});
	if (!writer)
		return tl::unexpected(writer.error());
	generate_options options;
	options.what = shape::burst;
	options.connections = 2 * burst_connections;
	options.rate = events_per_s / events_per_connection;
	std::uint64_t at_once = 0;
	auto written = generate(options, [&](const pm_event &event) {
		at_once += event.time_ns == 0 && event.token != 0;
		return writer->write(event);
	});
	if (!written)
		return tl::unexpected(written.error());
	return writer->close().map([&] { return at_once; });
}

expected<std::vector<job>> make_jobs(const compare_options &options, const std::string &recorded, output_folder &folder)
{
	std::vector<job> jobs;
	for (const double rate : options.rates) {
		const auto in_time = static_cast<std::uint64_t>(rate * options.seconds);
		jobs.push_back({recorded, at_rate{rate}, in_time});
		const std::string burst = folder.add(fmt::format("burst-{:.0f}.pcap", rate));
		const auto at_once = generate_burst(burst, rate);
		if (!at_once)
			return tl::unexpected(at_once.error());
		jobs.push_back({burst, at_own_times{}, *at_once + in_time});
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
	return run(one);
}

// Records in the client's namespace while `work` runs.
template <class Work>
expected<record_counters> record_while(const netns &where, const std::string &path, Work &&work)
{
	const descriptor stop{eventfd(0, EFD_CLOEXEC)};
	auto started = in_namespace(where, [&] { return recorder::start(path); });
	if (!started)
		return tl::unexpected(started.error());
	expected<void> ran;
	std::thread thread{[&] { ran = started->run(stop.get(), 0); }};
	const expected<void> worked = work();
	eventfd_write(stop.get(), 1);
	thread.join();
	if (!worked)
		return tl::unexpected(worked.error());
	if (!ran)
		return tl::unexpected(ran.error());
	return started->finish();
}

} // namespace

compare_options compare_options::quick()
{
	compare_options options;
	options.rates = {10'000, 100'000};
	options.repetitions = 3;
	options.connections = 2000;
	options.seconds = 0.2;
	options.tail_events = 100;
	return options;
}

compare_options compare_options::thorough()
{
	compare_options options;
	options.rates = {1'000, 10'000, 50'000, 100'000, 200'000};
	return options;
}

expected<nlohmann::json> record_connections(const std::string &path, std::uint64_t connections, double rate)
{
	const auto lab = lab::create({});
	if (!lab)
		return tl::unexpected(lab.error());
	load_report load;
	const auto counters = record_while(lab->client, path, [&]() -> expected<void> {
		load_options options;
		options.connections = connections;
		options.rate = rate;
		options.patience_ms =
			30'000; // a slow machine falls behind the rate, and may: only the events matter here
		auto made = run_load(*lab, options);
		if (!made)
			return tl::unexpected(made.error());
		load = std::move(*made);
		return {};
	});
	if (!counters)
		return tl::unexpected(counters.error());
	if (load.failed)
		return fail(fmt::format(
			"{} of {} connections to record failed, the first because {}: is the machine overloaded?",
			load.failed, load.asked, load.first_failure));
	return nlohmann::json{{"connections", load.made}, {"events", counters->recorded}, {"lost", counters->lost}};
}

expected<comparison> compare(const compare_options &options, const progress &tell)
{
	output_folder folder{options.folder};
	if (auto made = folder.make(); !made)
		return tl::unexpected(made.error());
	comparison result;
	const std::string recorded = folder.add("recorded.pcap");
	tell(0, fmt::format("recording {} real connections", options.connections));
	auto recording = record_connections(recorded, options.connections, 2000);
	if (!recording)
		return tl::unexpected(recording.error());
	result.recording = std::move(*recording);
	const auto jobs = make_jobs(options, recorded, folder);
	if (!jobs)
		return tl::unexpected(jobs.error());

	const auto through = backends();
	const std::size_t all = options.repetitions * jobs->size() * through.size();
	for (unsigned repetition = 0; repetition < options.repetitions; ++repetition) {
		for (const job &job : *jobs) {
			for (std::size_t i = 0; i < through.size(); ++i) {
				// Interleaved, and each repetition begins with another one: none is always the first after a pause.
				const backend_info &backend = through[(i + repetition) % through.size()];
				tell(static_cast<double>(result.runs.size()) / static_cast<double>(all),
				     fmt::format("{} at {} through {}, repetition {}",
						 std::filesystem::path{job.trace}.stem().string(), name_of(job.pace),
						 backend.name, repetition + 1));
				auto ran = run_job(options, job, backend);
				if (!ran && !interrupted() && result.runs.empty())
					return tl::unexpected(ran.error());
				folder.keep();
				if (!ran || interrupted()) {
					result.complete = false;
					result.failure = interrupted() ? "" : ran.error().text;
					return result;
				}
				result.runs.push_back(std::move(*ran));
			}
		}
	}
	tell(1, "done");
	return result;
}

nlohmann::json summarize_runs(const std::vector<run_report> &runs)
{
	// In the order in which they first ran: trace, pace and, within those, the backends' own order.
	std::vector<std::vector<const run_report *>> groups;
	std::map<std::string, std::size_t> place;
	for (const run_report &run : runs) {
		const std::string key = fmt::format("{}|{}|{}", run.trace, name_of(run.pace), run.backend);
		const auto [at, is_new] = place.try_emplace(key, groups.size());
		if (is_new)
			groups.emplace_back();
		groups[at->second].push_back(&run);
	}
	nlohmann::json all = nlohmann::json::array();
	for (const auto &group : groups) {
		const auto figure = [&](auto &&value) {
			std::vector<double> values;
			for (const run_report *run : group)
				values.push_back(value(*run));
			const summary s = summarize(values);
			return nlohmann::json{{"n", s.n}, {"median", s.median}, {"min", s.least}, {"max", s.most}};
		};
		const auto share = [](std::uint64_t part, std::uint64_t whole) {
			return whole ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
		};
		const run_report &first = *group.front();
		const auto percentile = [&](double p) {
			return figure([p](const run_report &r) {
				return static_cast<double>(r.result.latency.percentile(p));
			});
		};
		all.push_back({
			{"trace", std::filesystem::path{first.trace}.stem().string()},
			{"pace", name_of(first.pace)},
			{"backend", first.backend},
			{"offered_per_s", figure([](const run_report &r) { return r.offered_per_s(); })},
			{"lost_share", figure([&](const run_report &r) { return share(r.lost(), r.emitted); })},
			{"tail_delivered", first.tail_emitted ? figure([&](const run_report &r) {
				 return share(r.result.tail_delivered, r.tail_emitted);
			 })
							      : nlohmann::json(nullptr)},
			{"missing_share",
			 figure([&](const run_report &r) { return share(r.decisions.missing, r.decisions.expected); })},
			{"wrong", figure([](const run_report &r) { return static_cast<double>(r.decisions.wrong); })},
			{"latency_p50_ns", percentile(0.5)},
			{"latency_p99_ns", percentile(0.99)},
			{"cpu_ns_per_event", figure([](const run_report &r) { return r.cpu_ns_per_event(); })},
		});
	}
	return all;
}

} // namespace pm::replay
