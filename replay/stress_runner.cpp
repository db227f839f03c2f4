// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/stress_runner.hpp"

#include <algorithm>
#include <future>
#include <unistd.h>

#include <fmt/format.h>

#include "pm-netlink/clock.hpp"
#include "replay/interrupt.hpp"
#include "replay/join_times.hpp"
#include "replay/links.hpp"
#include "replay/stress_lab.hpp"
#include "replay/stress_probes.hpp"

namespace pm::replay {

namespace {

constexpr std::uint64_t warm_up_connections = 200;
constexpr std::uint64_t most_timed = 1000; // connections whose second path is
constexpr std::uint64_t fewest_asked = 200, most_stood_for = 16; // connections that are watched; each for how many
constexpr unsigned clearing_away_us = 60'000; // the programs of the load before, which the kernel does in the background
constexpr double patience_s = 15; // for paths to come or go
constexpr std::chrono::milliseconds memory_pause{50}; // between two looks at how much is used

std::uint64_t minus(std::uint64_t now, std::uint64_t before) { return now - std::min(now, before); }

// What it did between two accounts of it.
contender_account minus(contender_account now, const contender_account &before)
{
	if (now.events && before.events) {
		events_told &n = *now.events;
		const events_told &b = *before.events;
		n.delivered = minus(n.delivered, b.delivered);
		n.lost = minus(n.lost, b.lost);
		n.refused = minus(n.refused, b.refused);
		n.table_full = minus(n.table_full, b.table_full);
		n.idle = minus(n.idle, b.idle);
	}
	if (now.commands && before.commands) {
		now.commands->sent = minus(now.commands->sent, before.commands->sent);
		now.commands->accepted = minus(now.commands->accepted, before.commands->accepted);
		now.commands->refused = minus(now.commands->refused, before.commands->refused);
	}
	return now;
}

class runner {
public:
	// Of a path manager that has been started.
	runner(const stress_run_options &options, lab &between, contender &manager)
		: options_(options), plan_(*options.plan), lab_(between), contender_(manager)
	{
		run_.plan = plan_;
		run_.backend = options.backend->name;
		run_.policy = options.policy->name;
		run_.assignments = options.assignments;
		run_.repetition = options.repetition;
	}

	expected<stress_run> run()
	{
		if (auto opened = open_probes(); !opened)
			return tl::unexpected(opened.error());
		if (auto warmed = warm_up(); !warmed)
			return tl::unexpected(warmed.error());
		if (auto begun = begin(); !begun)
			return tl::unexpected(begun.error());
		if (options_.started)
			options_.started(contender_);
		if (auto loaded = make_load(); !loaded)
			return tl::unexpected(loaded.error());
		if (options_.loaded)
			options_.loaded(contender_);
		if (auto ended = end(); !ended)
			return tl::unexpected(ended.error());
		return std::move(run_);
	}

	// Connections per second, where warm_up() has been before. The accounts are not closed, so the path manager may go on.
	expected<double> rate()
	{
		if (auto opened = open_probes(); !opened)
			return tl::unexpected(opened.error());
		if (auto begun = begin(); !begun)
			return tl::unexpected(begun.error());
		if (!run_.not_timed.empty())
			return fail(run_.not_timed); // less would be counted than usual
		usleep(clearing_away_us);
		if (auto loaded = make_load(); !loaded)
			return tl::unexpected(loaded.error());
		usleep(1000 * quiet_ms);
		const load_report &load = run_.load;
		if (load.failed > load.asked / 100)
			return fail(fmt::format("{} of {} connections failed: {}", load.failed, load.asked,
						load.first_failure));
		return static_cast<double>(load.made) / load.opening_seconds;
	}

	expected<void> warm_up()
	{
		const std::uint64_t number = std::clamp<std::uint64_t>(plan_.load.connections / 10, 1,
								       warm_up_connections);
		const auto made = run_load(lab_, {.connections = number,
						  .rate = std::min(plan_.load.rate, 1000.0),
						  .ipv4 = plan_.load.ipv4,
						  .ipv6 = plan_.load.ipv6,
						  .hold_ms = 20});
		if (!made)
			return tl::unexpected(made.error());
		if (made->made == 0)
			return fail(fmt::format("no connection could be made: {}", made->first_failure));
		if (observer_)
			observer_->settle();
		return {};
	}

private:
	// ---- before ----

	expected<void> open_probes()
	{
		const stress_load &load = plan_.load;
		const auto planned = [&](bool ipv6) {
			return options_.backend->opens_paths ? planned_subflows(options_, ipv6, load.paths) : 0;
		};
		watch_.expect(planned(false), planned(true));
		if (plan_.actions.empty())
			watch_.ask_one_in(static_cast<unsigned>(
				std::clamp<std::uint64_t>(load.connections / fewest_asked, 1, most_stood_for)));
		// Also beside the built-in one, which gets no events: sending them costs, and is to cost every path manager.
		if (!options_.probes || !(options_.backend->hears_events || options_.backend->opens_paths))
			return {};
		auto observer = event_observer::open(contender_.process());
		if (!observer)
			return tl::unexpected(observer.error());
		observer_.emplace(std::move(*observer));
		return {};
	}

	expected<void> begin()
	{
		if (auto before = contender_.account())
			before_ = *before;
		else
			return tl::unexpected(before.error());
		if (observer_)
			if (auto begun = observer_->begin(); !begun)
				return begun;
		if (options_.probes && options_.backend->opens_paths) {
			auto times = join_times::start(lab_, plan_.load.paths, plan_.load.connections, most_timed);
			if (times)
				join_times_.emplace(std::move(*times));
			else
				run_.not_timed = times.error().text;
		}
		if (options_.probes) {
			client_joins_.emplace(joins_at_client);
			announced_.emplace(addresses_announced);
			withdrawn_.emplace(addresses_withdrawn);
			auto server = in_namespace(lab_.server, [&]() -> expected<void> {
				server_joins_.emplace(joins_at_server);
				return {};
			});
			if (!server)
				return server;
		}
		if (plan_.load.contention > 0)
			busy_.emplace(plan_.load.contention, plan_.load.contenders_priority);
		manager_cpu_ = contender_.cpu_ns();
		machine_cpu_ = machine_cpu_ns();
		begun_ = now_ns();
		clock_.emplace();
		return {};
	}

	// ---- the load ----

	expected<void> make_load()
	{
		load_options load{.ipv4 = plan_.load.ipv4, .ipv6 = plan_.load.ipv6, .hold_ms = plan_.load.hold_ms};
		load.steps = plan_.steps;
		load.watch = options_.probes || !plan_.actions.empty() ? &watch_ : nullptr;
		auto making = std::async(std::launch::async, [&] { return run_load(lab_, load); });
		const auto over_within = [&](std::chrono::milliseconds time) {
			note_memory();
			return making.wait_for(time) == std::future_status::ready;
		};
		const auto over = [&] { return over_within(std::chrono::milliseconds(1)); };
		expected<void> acted;
		for (const action each : plan_.actions)
			if (acted = act(each, over); !acted)
				break;
		if (!acted)
			watch_.close_all();
		while (!over_within(memory_pause)) // there is no hurry, and who wakes up gets in the way
			;
		auto made = making.get();
		if (!acted)
			return acted;
		if (!made)
			return tl::unexpected(made.error());
		run_.load = std::move(*made);
		connections_ = std::move(run_.load.connections);
		run_.paths = watch_.take();
		return {};
	}

	// `over` waits a millisecond, and tells whether the load has ended.
	template <class Over>
	expected<void> act(action what, Over &&over)
	{
		switch (what) {
		case action::await_open: return await_open(over);
		case action::await_paths: return await_paths(over);
		case action::remove_address: return change_address(false);
		case action::add_address: return change_address(true);
		case action::close_all: watch_.close_all();
		}
		return {};
	}

	// Until each is open or has failed. What happens is counted from the last opening; one that has failed is known seconds
	// later, when all the others may long have had their paths.
	template <class Over>
	expected<void> await_open(Over &&over)
	{
		std::uint64_t open = 0;
		acted_ = now_ns();
		while (open + watch_.failed() < plan_.load.connections && !over()) {
			if (const std::uint64_t now = watch_.open(); now != std::exchange(open, now))
				acted_ = now_ns();
			note_settled();
		}
		return {};
	}

	// Whether each open connection is as it should be, and since when.
	bool note_settled()
	{
		if (watch_.generation() != changes_ + 1 || watch_.unsettled() > 0)
			settled_ = 0;
		else if (settled_ < acted_)
			settled_ = now_ns();
		return settled_ > 0;
	}

	template <class Over>
	expected<void> await_paths(Over &&over)
	{
		std::optional<double> &took = removed_ ? run_.moving_ms : run_.recovery_ms;
		while (!note_settled()) {
			if (static_cast<double>(now_ns() - acted_) > patience_s * 1e9 || over()) {
				took.reset();
				return {};
			}
		}
		took = static_cast<double>(settled_ - acted_) / 1e6;
		return {};
	}

	expected<void> change_address(bool there)
	{
		const unsigned path = plan_.load.paths - 1;
		auto here = links::open();
		if (!here)
			return tl::unexpected(here.error());
		acted_ = now_ns();
		for (const bool ipv6 : {false, true}) {
			const std::string link = lab::link_name(path);
			const pm_addr address = lab::client_address(path, ipv6);
			auto done = there ? here->add_address(link, address) : here->remove_address(link, address);
			if (!done)
				return done;
		}
		removed_ = !there;
		++changes_;
		const unsigned left = plan_.load.paths - !there;
		const bool opens = options_.backend->opens_paths;
		watch_.expect(opens ? planned_subflows(options_, false, left) : 0,
			      opens ? planned_subflows(options_, true, left) : 0);
		return contender_.address_changed(path, there);
	}

	// ---- afterwards ----

	expected<void> end()
	{
		if (observer_)
			observer_->settle();
		else
			usleep(1000 * quiet_ms);
		run_.seconds = static_cast<double>(now_ns() - begun_) / 1e9;
		const std::uint64_t busy = busy_ ? busy_->stop() : 0;
		run_.machine_cpu_ns = minus(minus(machine_cpu_ns(), machine_cpu_), busy);
		run_.machine_cpu_step_ns = machine_cpu_step_ns();
		if (const auto cpu = contender_.cpu_ns(); cpu && manager_cpu_)
			run_.manager_cpu_ns = *cpu - *manager_cpu_;
		run_conditions conditions;
		if (options_.probes)
			if (auto counted = count(conditions); !counted)
				return counted;
		conditions.clock_jump_ms = clock_->jump_ms();
		conditions.scheduled_seconds = run_.load.scheduled_seconds;
		conditions.opening_seconds = run_.load.opening_seconds;
		conditions.late_p99_ms = static_cast<double>(run_.load.sent_late.percentile(0.99)) / 1e6;
		conditions.at_full_rate = plan_.load.rate >= full_rate;
		conditions.asked = run_.load.asked;
		conditions.failed = run_.load.failed;
		conditions.first_failure = run_.load.first_failure;
		conditions.needs_loss = plan_.needs_loss && observer_ && contender_.process(); // a call cannot be lost
		if (run_.events)
			for (const auto &[stage, count] : run_.events->lost)
				conditions.lost += count;
		run_.excluded = why_excluded(conditions);
		return {};
	}

	expected<void> count(run_conditions &conditions)
	{
		run_.came_up_client = client_joins_->count();
		run_.came_up_server = server_joins_->count();
		if (join_times_) {
			const auto delays = join_times_->delays(connections_);
			if (delays)
				for (histogram &all = run_.join_latency.emplace(); const double each : *delays)
					all.record(static_cast<std::uint64_t>(each));
			else
				run_.not_timed = delays.error().text;
		}
		// A path manager that stands still does not answer: then there is what was seen from outside.
		const auto now = contender_.account();
		const contender_account told = now ? minus(*now, before_) : contender_account{};
		run_.commands = told.commands;
		if (!observer_ || !options_.backend->hears_events)
			return {};
		const auto seen = observer_->end(implied_events(connections_in_short()));
		if (!seen)
			return tl::unexpected(seen.error());
		auto account = account_for(*seen, told.events);
		if (account)
			run_.events = std::move(*account);
		else
			conditions.account_error = account.error().text;
		return {};
	}

	connections_seen connections_in_short() const
	{
		connections_seen seen{.made = run_.load.made,
				      .subflows_up = run_.came_up_client,
				      .announced = announced_->count(),
				      .withdrawn = withdrawn_->count()};
		for (const made_connection &each : connections_)
			seen.subflows_at_end += each.subflows;
		return seen;
	}

	void note_memory()
	{
		const std::uint64_t now = now_ns();
		if (now < next_look_)
			return;
		next_look_ = now + std::chrono::nanoseconds(memory_pause).count();
		run_.memory_kib = std::max(run_.memory_kib, contender_.memory_kib()); // nothing is less than any
	}

	const stress_run_options &options_;
	const stress_plan &plan_;
	lab &lab_;
	contender &contender_;
	stress_run run_;
	path_watch watch_;
	std::optional<event_observer> observer_;
	std::optional<join_times> join_times_;
	std::optional<kernel_counter> client_joins_, server_joins_, announced_, withdrawn_;
	std::optional<busy_threads> busy_;
	std::optional<clock_check> clock_;
	contender_account before_;
	std::optional<std::uint64_t> manager_cpu_;
	std::uint64_t machine_cpu_ = 0, begun_ = 0, acted_ = 0, next_look_ = 0;
	std::uint64_t settled_ = 0; // 0: some connection is not as it should be
	unsigned changes_ = 0;
	bool removed_ = false;
	std::vector<made_connection> connections_;
};

// In the client's namespace, on a thread that stays until this is over, beside a path manager that has been started.
template <class Do>
auto with_manager(const stress_run_options &options, Do &&what)
{
	using result = std::invoke_result_t<Do, lab &, contender &>;
	auto between = build_stress_lab(options.plan->load);
	if (!between)
		return result(tl::unexpected(between.error()));
	return in_namespace(between->client, [&]() -> result {
		const auto manager = options.backend->make(options_for(options));
		if (auto started = manager->start(); !started)
			return tl::unexpected(started.error());
		return what(*between, *manager);
	});
}

} // namespace

contender_options options_for(const stress_run_options &options)
{
	const stress_load &load = options.plan->load;
	return {.policy = options.policy,
		.settings = options.settings,
		.assignments = options.assignments,
		.buffer_bytes = load.buffer_bytes,
		.paths = load.paths,
		.ipv4 = load.ipv4,
		.ipv6 = load.ipv6};
}

expected<stress_run> run_stress(const stress_run_options &options)
{
	return with_manager(options, [&](lab &between, contender &manager) {
		return runner(options, between, manager).run();
	});
}

expected<std::vector<probe_pair>> run_with_and_without_probes(const stress_run_options &options, unsigned pairs)
{
	return with_manager(options, [&](lab &between, contender &manager) -> expected<std::vector<probe_pair>> {
		if (auto warmed = runner(options, between, manager).warm_up(); !warmed)
			return tl::unexpected(warmed.error());
		std::vector<probe_pair> all;
		error why;
		for (unsigned i = 0; i < pairs; ++i) {
			std::optional<double> rate[2]; // without, with
			for (const bool probes : {i % 2 == 0, i % 2 != 0}) {
				auto one = options;
				one.probes = probes;
				const auto measured = runner(one, between, manager).rate();
				if (interrupted())
					return fail_interrupted();
				if (measured)
					rate[probes] = *measured;
				else
					why = measured.error();
			}
			if (rate[0] && rate[1])
				all.push_back({.with = *rate[1], .without = *rate[0]});
		}
		return all.empty() ? tl::unexpected(why) : expected<std::vector<probe_pair>>{std::move(all)};
	});
}

} // namespace pm::replay
