// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/compare_traces.hpp"

#include <thread>

#include <fmt/format.h>
#include <sys/eventfd.h>

#include "pm-netlink/codec.hpp"
#include "replay/generate.hpp"
#include "replay/lab.hpp"
#include "replay/load.hpp"
#include "replay/record.hpp"
#include "replay/trace.hpp"

namespace pm::replay {

namespace {

// A burst larger than the default socket buffer holds (about 256 events), smaller than a large one does.
constexpr std::uint64_t burst_connections = 2000;
// What a generated connection of a client with two paths comes to, CLOSED included.
constexpr double events_per_connection = 7;

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

expected<burst_events> generate_burst(const std::string &path, double events_per_s)
{
	auto writer = trace_writer::create(path,
					   {.id = 28, .events_group = 9, .description = netlink::encode_family(28, 9)});
	if (!writer)
		return tl::unexpected(writer.error());
	generate_options options;
	options.what = shape::burst;
	options.connections = 2 * burst_connections;
	options.rate = events_per_s / events_per_connection;
	burst_events events;
	std::uint64_t all = 0;
	auto written = generate(options, [&](const pm_event &event) {
		all += event.token != 0;
		events.at_once += event.time_ns == 0 && event.token != 0;
		if (event.type == PM_CREATED)
			events.while_opened = all;
		return writer->write(event);
	});
	if (!written)
		return tl::unexpected(written.error());
	return writer->close().map([&] { return events; });
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

} // namespace pm::replay
