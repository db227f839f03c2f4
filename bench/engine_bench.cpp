// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What deciding an event costs, for the same stream (steady_stream.hpp) natively and in BPF, with the lookup of its
// connection. Google Benchmark drives it, with native and BPF repetitions interleaved at random.
//
// Both are handed batches of PM_BATCH events, filled outside of the measured time. With one connection the same batch
// is gone through many times over; with many, each batch has other connections. BPF time is the kernel's, of its own
// test_run loop: a mean in whole nanoseconds, rounded down, without the time in which something else ran. Native time
// is therefore CPU time of the thread.
#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "bench/steady_stream.hpp"
#include "bench/topics.hpp"
#include "pm-bpf/loader.hpp"
#include "pm-netlink/netns.hpp"
#include "replay/clock.hpp"
#include "replay/interrupt.hpp"

namespace pm::bench {

namespace {

struct setup {
	const char *policy;
	unsigned addresses; // local ones, and as many remote ones
	unsigned connections;
};
constexpr unsigned many = 10'000;
constexpr std::uint32_t table = 16384; // connections that the BPF map has room for
// The first is the one that the targets are about.
constexpr setup setups[] = {
	{"fullmesh", 4, 1},   {"fullmesh", 4, many},   {"fullmesh", 2, 1},   {"fullmesh", 2, many},
	{"fullmesh", 8, 1},   {"fullmesh", 8, many},   {"ndiffports", 4, 1}, {"ndiffports", 4, many},
	{"ndiffports", 2, 1}, {"ndiffports", 2, many}, {"ndiffports", 8, 1}, {"ndiffports", 8, many},
};

// The same connections natively and in BPF, and the streams that go on with each.
class contest {
public:
	static expected<std::unique_ptr<contest>> create(const setup &of)
	{
		const auto policy = find_policy(of.policy);
		if (!policy)
			return tl::unexpected(policy.error());
		const auto settings = make_settings(**policy);
		if (!settings)
			return tl::unexpected(settings.error());
		auto loaded = bpf::engine::load(**policy, *settings, {.most_connections = table, .stamp = false});
		if (!loaded)
			return tl::unexpected(loaded.error());
		std::unique_ptr<contest> made{new contest(of, **policy, *settings, std::move(*loaded))};
		if (auto ready = made->prepare(); !ready)
			return tl::unexpected(ready.error());
		return made;
	}

	void run_native(benchmark::State &state)
	{
		run(state, native_stream_, native_batch_, [&] {
			const std::uint64_t before = native_.counted().commands;
			const std::uint64_t start = replay::thread_cpu_ns();
			for (unsigned lap = 0; lap < laps_; ++lap)
				for (const pm_event &event : native_batch_)
					native_.handle(event, [](const pm_result &result) {
						auto commands = result.commands;
						benchmark::DoNotOptimize(commands);
					});
			const std::uint64_t end = replay::thread_cpu_ns();
			commands_ = native_.counted().commands - before;
			return static_cast<double>(end - start);
		});
	}

	void run_bpf(benchmark::State &state)
	{
		run(state, bpf_stream_, bpf_.batch(), [&]() -> double {
			const auto mean = bpf_.run(events());
			if (!mean) {
				failed = mean.error();
				return 0;
			}
			commands_ = 0;
			for (const pm_result &result : bpf_.results())
				commands_ += result.commands;
			commands_ *= laps_; // those of the laps before have been written over
			return static_cast<double>(*mean) * events();
		});
	}

	// The baseline of the native engine: finding the connection, and no more.
	void run_lookup(benchmark::State &state)
	{
		run(state, lookup_stream_, native_batch_, [&] {
			const std::uint64_t start = replay::thread_cpu_ns();
			for (unsigned lap = 0; lap < laps_; ++lap)
				for (const pm_event &event : native_batch_) {
					auto found = native_.find(event.token);
					benchmark::DoNotOptimize(found);
				}
			const std::uint64_t end = replay::thread_cpu_ns();
			commands_ = expected_;
			return static_cast<double>(end - start);
		});
	}

	// What of run_bpf's time is not the policy's: the kernel's loop, and the program up to where it looks at the
	// event.
	void run_idle(benchmark::State &state)
	{
		for (pm_event &event : bpf_.batch()) {
			event = {};
			event.type = PM_LISTENER_CREATED; // without a token: neither looked up nor decided
		}
		for (auto _ : state) {
			const auto mean = bpf_.run(events());
			if (!mean)
				failed = mean.error();
			if (failed || replay::interrupted()) {
				state.SkipWithError("failed");
				break;
			}
			state.SetIterationTime(static_cast<double>(*mean) * events() / 1e9);
		}
	}

	[[nodiscard]] unsigned events() const noexcept { return PM_BATCH * laps_; } // of an iteration

	std::optional<error> failed;

private:
	contest(const setup &of, const policy_info &policy, const pm_settings &settings, bpf::engine &&loaded)
		: of_(of), laps_(of.connections == 1 ? 40 : 1), native_(policy, settings), bpf_(std::move(loaded)),
		  native_stream_({of.addresses, of.addresses, of.connections, policy.name == "fullmesh"}),
		  bpf_stream_(native_stream_), lookup_stream_(native_stream_)
	{
	}

	// Fills the batch, measures it, and makes sure that as many commands came out as the stream causes.
	template <class Measure>
	void run(benchmark::State &state, steady_stream &stream, std::span<pm_event> batch, Measure &&measure)
	{
		bool filled = false;
		for (auto _ : state) {
			if (!filled) {
				expected_ = laps_ * stream.next(batch);
				filled = laps_ > 1; // whole rounds: it can be gone through again
			}
			state.SetIterationTime(measure() / 1e9);
			if (!failed && commands_ != expected_)
				failed = error{fmt::format(
					"{} with {} connections issued {} commands where {} were due: the stream is "
					"not steady",
					of_.policy, of_.connections, commands_, expected_)};
			if (failed || replay::interrupted()) {
				state.SkipWithError("failed");
				break;
			}
		}
	}

	// Brings all connections up in both, and lets both handle every connection's rounds, comparing command by
	// command.
	expected<void> prepare()
	{
		if (auto same = both(native_stream_.addresses()); !same)
			return same;
		for (unsigned c = 0; c < of_.connections; ++c)
			if (auto same = both(native_stream_.opening(c)); !same)
				return same;
		std::vector<pm_event> events(PM_BATCH);
		const std::uint64_t all = 3 * native_stream_.sweep();
		for (std::uint64_t done = 0; done < all; done += events.size()) {
			events.resize(std::min<std::uint64_t>(PM_BATCH, all - done));
			const std::uint64_t due = native_stream_.next(events);
			if (auto same = both(events); !same)
				return same;
			if (made_.size() != due)
				return fail(
					fmt::format("{} issued {} commands where {} were due: the stream is not steady",
						    of_.policy, made_.size(), due));
		}
		bpf_stream_ = lookup_stream_ = native_stream_;
		return {};
	}

	expected<void> both(const std::vector<pm_event> &events)
	{
		made_.clear();
		std::vector<pm_command> in_bpf;
		for (const pm_event &event : events)
			native_.handle(event, [&](const pm_result &result) {
				made_.insert(made_.end(), result.command, result.command + result.commands);
			});
		const auto handled = bpf_.handle(events, [&](const pm_result &result) {
			in_bpf.insert(in_bpf.end(), result.command, result.command + result.commands);
		});
		if (!handled)
			return handled;
		const auto same = [](const pm_command &a, const pm_command &b) {
			return std::memcmp(&a, &b, sizeof a) == 0;
		};
		if (!std::equal(made_.begin(), made_.end(), in_bpf.begin(), in_bpf.end(), same))
			return fail(fmt::format("{} issued other commands in BPF ({}) than natively ({}), so there is "
						"nothing to compare",
						of_.policy, in_bpf.size(), made_.size()));
		return {};
	}

	setup of_;
	unsigned laps_;
	manager native_;
	bpf::engine bpf_;
	steady_stream native_stream_, bpf_stream_, lookup_stream_;
	alignas(64) std::array<pm_event, PM_BATCH> native_batch_{};
	std::vector<pm_command> made_;
	std::uint64_t commands_ = 0, expected_ = 0; // of an iteration
};

// Keeps each repetition's nanoseconds for an iteration.
class collector : public benchmark::BenchmarkReporter {
public:
	bool ReportContext(const Context &) override { return true; }
	void ReportRuns(const std::vector<Run> &runs) override
	{
		for (const Run &run : runs)
			if (run.run_type == Run::RT_Iteration && run.iterations > 0)
				samples[run.run_name.function_name].push_back(run.GetAdjustedRealTime());
	}
	std::map<std::string, std::vector<double>> samples;
};

struct outcome {
	replay::summary native, bpf, lookup, idle; // ns for an event
};

expected<outcome> measure(contest &between, bool quick)
{
	collector reporter;
	benchmark::ClearRegisteredBenchmarks();
	const auto add = [&](const char *name, void (contest::*run)(benchmark::State &)) {
		benchmark::RegisterBenchmark(name, [&between, run](benchmark::State &state) { (between.*run)(state); })
			->UseManualTime()
			->Unit(benchmark::kNanosecond)
			->MinTime(quick ? 0.02 : 0.2)
			->Repetitions(quick ? 5 : 11);
	};
	add("native", &contest::run_native);
	add("bpf", &contest::run_bpf);
	add("lookup", &contest::run_lookup);
	add("idle", &contest::run_idle);
	benchmark::RunSpecifiedBenchmarks(&reporter, "all");
	benchmark::ClearRegisteredBenchmarks();
	if (between.failed)
		return tl::unexpected(*between.failed);
	if (replay::interrupted())
		return replay::fail_interrupted();
	for (auto &[name, samples] : reporter.samples)
		for (double &sample : samples)
			sample /= between.events();
	const auto of = [&](const char *name) { return replay::summarize(reporter.samples[name]); };
	return outcome{of("native"), of("bpf"), of("lookup"), of("idle")};
}

expected<void> measure_here(job &work)
{
	replay::stay_on_cpu(replay::receiving_cpu);
	double done = 0;
	for (const setup &of : setups) {
		if (replay::interrupted())
			return replay::fail_interrupted();
		const std::string what = fmt::format("{}, {} x {} addresses, {} connection{}", of.policy, of.addresses,
						     of.addresses, of.connections, of.connections == 1 ? "" : "s");
		work.tell(done++ / static_cast<double>(std::size(setups)), what);
		const auto between = contest::create(of);
		if (!between)
			return tl::unexpected(between.error());
		const auto took = measure(**between, work.quick);
		if (!took)
			return tl::unexpected(took.error());
		const bool aimed_at = &of == &setups[0];
		work.figures.push_back({what + ", native", unit::nanoseconds, took->native, "finding the connection",
					took->lookup, aimed_at ? std::optional{target{150}} : std::nullopt});
		work.figures.push_back({what + ", BPF", unit::nanoseconds, took->bpf, "native", took->native,
					aimed_at ? std::optional{target{2.5, target::at_most, true}} : std::nullopt});
		if (aimed_at)
			work.figures.push_back({"  of which the loop, and entering the program", unit::nanoseconds,
						took->idle, "all of it", took->bpf, std::nullopt});
	}
	return {};
}

} // namespace

expected<void> measure_engine(job &work)
{
	// The library takes this setting, which no function sets, from a command line only.
	char name[] = "bench", interleaved[] = "--benchmark_enable_random_interleaving=true";
	char *arguments[] = {name, interleaved, nullptr};
	int count = 2;
	benchmark::Initialize(&count, arguments);
	// On a thread of its own: the other topics shall not inherit its processor.
	expected<void> done;
	if (auto ran = on_own_thread([&] { done = measure_here(work); }); !ran)
		return ran;
	return done;
}

} // namespace pm::bench
