// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Real connections with real path managers, on two paths: how many short ones can be made, how soon the second path is asked
// for, what 10,000 open ones cost. pm-netlinkd is the program itself, `fullmesh`; the built-in path manager has endpoints that
// ask for the same subflow.
#include <array>
#include <atomic>
#include <numeric>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>

#include "bench/topics.hpp"
#include "pm-netlink/clock.hpp"
#include "pm-netlink/status.hpp"
#include "replay/daemon.hpp"
#include "replay/join_times.hpp"
#include "replay/lab.hpp"

namespace pm::bench {

namespace {

enum manager { none, built_in, daemon, everybody };
constexpr std::array<const char *, everybody> names = {"no path manager", "built-in", "pm-netlinkd"};

using replay::running_daemon;
using samples = std::vector<double>;

double resident_bytes(const running_daemon &daemon)
{
	return static_cast<double>(daemon.process().memory_kib()) * 1024;
}

replay::lab_options lab_for(manager which) { return {.paths = 2, .endpoints = which == built_in, .announce = false}; }

replay::load_options short_connections(std::uint64_t count, double rate, unsigned hold_ms)
{
	return {.connections = count, .rate = rate, .ipv6 = false, .hold_ms = hold_ms};
}

// In the client's namespace, with its path manager running.
template <class Work>
expected<void> with_manager(manager which, Work &&work)
{
	auto lab = replay::lab::create(lab_for(which));
	if (!lab)
		return tl::unexpected(lab.error());
	return in_namespace(lab->client, [&]() -> expected<void> {
		std::optional<running_daemon> running;
		if (which == daemon) {
			auto started = running_daemon::start({"fullmesh"}, PATHLAB_DAEMON);
			if (!started)
				return tl::unexpected(started.error());
			running.emplace(std::move(*started));
		}
		return work(*lab, running ? &*running : nullptr);
	});
}

// ---- how many ----

struct rates {
	samples per_second, second_path, lost, cpu, startup;
};

expected<void> measure_rate(manager which, std::uint64_t connections, rates &into)
{
	return with_manager(which, [&](const replay::lab &lab, running_daemon *running) -> expected<void> {
		constexpr double at_once = 1e6; // as fast as they can be made
		const auto load = run_load(lab, short_connections(connections, at_once, 10));
		if (!load)
			return tl::unexpected(load.error());
		if (load->failed > connections / 100)
			return fail(fmt::format("{} of {} connections could not be made: {}", load->failed, connections,
						load->first_failure));
		std::uint64_t with_second = 0;
		for (const auto &c : load->connections)
			with_second += c.subflows > 0;
		into.per_second.push_back(static_cast<double>(load->made) / load->opening_seconds);
		into.second_path.push_back(100.0 * static_cast<double>(with_second) / static_cast<double>(load->made));
		if (!running)
			return {};
		const auto status = running->status();
		if (!status)
			return tl::unexpected(status.error());
		into.lost.push_back(status->at("events").at("lost").get<double>());
		into.cpu.push_back(static_cast<double>(running->process().cpu_ns()) / static_cast<double>(load->made));
		into.startup.push_back(static_cast<double>(running->startup_ns()));
		return {};
	});
}

expected<void> measure_rates(job &work)
{
	const unsigned repetitions = work.quick ? 3 : 5;
	const std::uint64_t connections = work.quick ? 10'000 : 30'000;
	std::array<rates, everybody> all;
	for (unsigned i = 0; i < repetitions; ++i)
		for (unsigned which = 0; which < everybody; ++which) {
			work.tell(0.7 * (i * everybody + which) / (repetitions * everybody),
				  fmt::format("short connections, {}", names[which]));
			if (auto ran = measure_rate(static_cast<manager>(which), connections, all[which]); !ran)
				return ran;
		}
	const auto of = [](const samples &values) { return replay::summarize(values); };
	work.figures.push_back({"short connections, pm-netlinkd", unit::per_second, of(all[daemon].per_second),
				names[built_in], of(all[built_in].per_second), target{0.85, target::at_least, true}});
	work.figures.push_back({"short connections, no path manager", unit::per_second, of(all[none].per_second),
				names[built_in], of(all[built_in].per_second), target{10'000, target::at_least}});
	work.figures.push_back({"per cent of them that had their second path, pm-netlinkd",
				unit::count,
				of(all[daemon].second_path),
				names[built_in],
				of(all[built_in].second_path),
				{}});
	work.figures.push_back(
		{"CPU of pm-netlinkd for a connection", unit::nanoseconds, of(all[daemon].cpu), "", {}, {}});
	// Not the median: one repetition that loses some is enough to miss the target.
	const double lost = std::accumulate(all[daemon].lost.begin(), all[daemon].lost.end(), 0.0);
	work.figures.push_back({"events lost, in all repetitions", unit::count, of({lost}), "", {}, target{0}});
	work.figures.push_back(
		{"pm-netlinkd: start to ready", unit::nanoseconds, of(all[daemon].startup), "", {}, target{50e6}});
	return {};
}

// ---- how soon ----

expected<void> measure_delays(job &work)
{
	const unsigned repetitions = work.quick ? 3 : 5;
	const std::uint64_t connections = work.quick ? 200 : 500;
	std::array<samples, everybody> medians, worst;
	for (unsigned i = 0; i < repetitions; ++i)
		for (const manager which : {built_in, daemon}) {
			work.tell(0.7 + 0.2 * i / repetitions, fmt::format("the second path's SYN, {}", names[which]));
			auto ran = with_manager(which, [&](const replay::lab &lab, running_daemon *) -> expected<void> {
				const auto times = replay::join_times::start(lab, 2, connections);
				if (!times)
					return tl::unexpected(times.error());
				const auto load = run_load(lab, short_connections(connections, 200, 50));
				if (!load)
					return tl::unexpected(load.error());
				auto delays = times->delays(load->connections);
				if (!delays)
					return tl::unexpected(delays.error());
				if (delays->size() < connections * 9 / 10)
					return fail(fmt::format("only {} of {} connections had a join on the wire",
								delays->size(), connections));
				std::sort(delays->begin(), delays->end());
				medians[which].push_back((*delays)[delays->size() / 2]);
				worst[which].push_back((*delays)[delays->size() * 99 / 100]);
				return {};
			});
			if (!ran)
				return ran;
		}
	work.figures.push_back({"ESTABLISHED to MP_JOIN SYN on the wire, median",
				unit::nanoseconds,
				replay::summarize(medians[daemon]),
				names[built_in],
				replay::summarize(medians[built_in]),
				{}});
	work.figures.push_back({"the same, 99th percentile",
				unit::nanoseconds,
				replay::summarize(worst[daemon]),
				names[built_in],
				replay::summarize(worst[built_in]),
				{}});
	return {};
}

// ---- what open ones cost ----

bool are_open(const nlohmann::json &status, std::uint64_t connections)
{
	return status.at("subflows").at("established").get<std::uint64_t>() >= 2 * connections;
}

expected<void> await_connections(const running_daemon &running, std::uint64_t connections)
{
	for (const std::uint64_t begun = now_ns(); now_ns() - begun < 30'000'000'000; ::usleep(20'000)) {
		const auto status = running.status();
		if (!status)
			return tl::unexpected(status.error());
		if (are_open(*status, connections))
			return {};
	}
	const auto status = running.status();
	return fail(fmt::format(
		"{} connections with two paths each did not come up within 30 seconds; pm-netlinkd says:\n{}",
		connections, status ? netlink::to_text(*status) : status.error().text));
}

// Has them read back once more, and yields how long that took, in nanoseconds. It begins when the pause after the one before
// is over, so only their number says which one a time is of.
expected<double> measure_resync(const running_daemon &running, std::uint64_t connections)
{
	const auto before = running.status();
	if (!before)
		return tl::unexpected(before.error());
	const auto done = [](const nlohmann::json &status) {
		return status.at("resyncs").at("done").get<std::uint64_t>();
	};
	running.resync();
	for (const std::uint64_t begun = now_ns(); now_ns() - begun < 10'000'000'000; ::usleep(20'000)) {
		const auto status = running.status();
		if (!status)
			return tl::unexpected(status.error());
		if (done(*status) == done(*before))
			continue;
		if (!are_open(*status, connections))
			return fail(fmt::format("the {} connections were closed before they had been read back",
						connections));
		return status->at("resyncs").at("last_ns").get<double>();
	}
	return fail(fmt::format("pm-netlinkd did not read {} connections back within 10 seconds", connections));
}

expected<void> measure_open_ones(job &work)
{
	// Both ends of each are in this process, and the usual hard limit of open files is 20,000.
	constexpr std::uint64_t connections = 9'900;
	samples bytes, resyncs;
	work.tell(0.95, fmt::format("{} open connections", connections));
	auto ran = with_manager(daemon, [&](const replay::lab &lab, running_daemon *running) -> expected<void> {
		const double before = resident_bytes(*running);
		expected<replay::load_report> load;
		std::thread making([&] { load = run_load(lab, short_connections(connections, 3000, 12'000)); });
		auto there = await_connections(*running, connections);
		if (there)
			bytes.push_back((resident_bytes(*running) - before) / connections);
		for (int i = 0; there && i < 5; ++i)
			there = measure_resync(*running, connections).map([&](double ns) { resyncs.push_back(ns); });
		making.join();
		return there;
	});
	if (!ran)
		return ran;
	work.figures.push_back({"pm-netlinkd: memory of a connection with two paths",
				unit::bytes,
				replay::summarize(bytes),
				"",
				{},
				target{1024}});
	work.figures.push_back({fmt::format("{} open connections read back", connections),
				unit::nanoseconds,
				replay::summarize(resyncs),
				"",
				{},
				target{1e9}});
	return {};
}

} // namespace

expected<void> measure_live(job &work)
{
	for (const auto &each : {measure_rates, measure_delays, measure_open_ones})
		if (auto done = each(work); !done)
			return done;
	return {};
}

} // namespace pm::bench
