// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/runner.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>

#include "pm-netlink/netns.hpp"
#include "replay/clock.hpp"
#include "replay/group_sender.hpp"
#include "replay/interrupt.hpp"
#include "replay/machine.hpp"
#include "replay/stress_probes.hpp"

namespace pm::replay {

namespace {

constexpr double tail_events_per_s = 1000;

// Of the oracle, which must lose nothing; a bound all the same, because a trace may come from anywhere.
constexpr std::size_t most_open = 1 << 20;

// When the next event is due, counted from the start of its part.
class schedule {
public:
	explicit schedule(const pacing &pace) : pace_(pace) {}

	// An address changes at its own time, where times count; else between the events around it.
	std::uint64_t due_of_change(const stream_item &item) const
	{
		const auto *own = std::get_if<at_own_times>(&pace_);
		return own && start_
			       ? start_ + to_ns(static_cast<double>(item.event.time_ns - first_time_) / own->speed)
			       : 0;
	}

	// 0: now. Otherwise on now_ns()'s clock.
	std::uint64_t due(const stream_item &item)
	{
		if (start_ == 0 || item.tail != in_tail_) {
			in_tail_ = item.tail;
			start_ = now_ns();
			first_time_ = item.event.time_ns;
			events_ = 0;
		}
		const double n = static_cast<double>(events_++);
		if (in_tail_)
			return start_ + static_cast<std::uint64_t>(n * 1e9 / tail_events_per_s);
		if (const auto *rate = std::get_if<at_rate>(&pace_))
			return start_ + to_ns(n * 1e9 / rate->events_per_s);
		if (const auto *own = std::get_if<at_own_times>(&pace_))
			return start_ + to_ns(static_cast<double>(item.event.time_ns - first_time_) / own->speed);
		return 0;
	}

private:
	// A rate near zero makes times that no integer holds: centuries stand for them.
	static std::uint64_t to_ns(double ns) { return static_cast<std::uint64_t>(std::min(ns, 9e18)); }

	pacing pace_;
	std::uint64_t start_ = 0, first_time_ = 0, events_ = 0;
	bool in_tail_ = false;
};

// Offers each event when it is due, several at once when several are. Never waits for the consumer: open loop.
class pacer {
public:
	pacer(backend &to, run_report &report, const pacing &pace) : to_(to), report_(report), schedule_(pace)
	{
		batch_.reserve(group_sender::most_at_once);
	}

	expected<void> play(event_stream &stream)
	{
		prctl(PR_SET_TIMERSLACK, 1UL);
		bool in_tail = false;
		for (;;) {
			const auto item = stream.next();
			if (!item)
				return tl::unexpected(item.error());
			if (!*item)
				return in_tail ? flush() : end_of_load();
			if (interrupted())
				return fail_interrupted();
			if ((*item)->tail && !in_tail) {
				in_tail = true;
				if (auto over = end_of_load(); !over)
					return over;
			}
			if (auto taken = take(**item); !taken)
				return taken;
		}
	}

private:
	expected<void> end_of_load()
	{
		if (auto flushed = flush(); !flushed)
			return flushed;
		const auto settled = to_.settle();
		to_.end_load();
		return settled;
	}

	expected<void> take(const stream_item &item)
	{
		if (item.local_change()) {
			if (auto flushed = flush(); !flushed)
				return flushed;
			wait_until(schedule_.due_of_change(item));
			return to_.change_local(item.event);
		}
		const std::uint64_t due = schedule_.due(item);
		if (due > now_ns()) {
			if (auto flushed = flush(); !flushed)
				return flushed;
			wait_until(due);
		}
		if (item.message.size() > netlink::max_message)
			return fail(fmt::format("event {} has a message of {} bytes, which is more than any event's",
						item.event.seq, item.message.size()));
		due_event &next = batch_.emplace_back();
		next.event = item.event;
		std::copy(item.message.begin(), item.message.end(), next.message.begin());
		next.length = item.message.size();
		next.due_ns = due;
		next.tail = item.tail;
		return batch_.size() == group_sender::most_at_once ? flush() : expected<void>{};
	}

	// Sleeps over what is long, once there is nothing to look at, and spins over the rest: a wake-up may come late by more
	// than an event may.
	void wait_until(std::uint64_t due)
	{
		constexpr std::uint64_t rest = 300'000;
		while (to_.look_around() && now_ns() + 2 * rest < due && !interrupted())
			;
		std::uint64_t now = now_ns();
		if (now + 2 * rest < due) {
			now = std::min(now, due - rest);
			const std::uint64_t left = due - rest - now;
			const timespec time{static_cast<time_t>(left / 1'000'000'000),
					    static_cast<long>(left % 1'000'000'000)};
			pollfd stop{interrupt_fd(), POLLIN,
				    0}; // not a sleep: a signal may wake another thread than this one
			ppoll(&stop, 1, &time, nullptr);
		}
		while (now_ns() < due && !interrupted())
			to_.look_around();
	}

	expected<void> flush()
	{
		if (batch_.empty())
			return {};
		const bool load = !batch_.front().tail;
		if (load && first_ns_ == 0)
			first_ns_ = now_ns();
		const std::uint64_t due = batch_.back().due_ns; // before the backend sets it where there is none
		if (load && first_due_ == 0)
			first_due_ = batch_.front().due_ns;
		if (load && due > 0)
			report_.scheduled_seconds = static_cast<double>(due - first_due_) / 1e9;
		if (auto offered = to_.offer(batch_); !offered)
			return offered;
		const std::uint64_t sent = now_ns();
		report_.emitted += batch_.size();
		if (load) {
			for (const due_event &event : batch_)
				report_.sent_late.record(sent > event.due_ns ? sent - event.due_ns : 0);
			report_.load_seconds = static_cast<double>(sent - first_ns_) / 1e9;
		} else {
			report_.tail_emitted += batch_.size();
		}
		batch_.clear();
		return {};
	}

	backend &to_;
	run_report &report_;
	schedule schedule_;
	std::vector<due_event> batch_;
	std::uint64_t first_ns_ = 0, first_due_ = 0;
};

// Of a burst, which is due at once, all but the first event are late: there only the end of the load tells.
std::optional<std::string> why_excluded(const run_options &options, const run_report &report, const clock_check &clock)
{
	run_conditions conditions{.clock_jump_ms = clock.jump_ms(), .each = "events was sent"};
	conditions.at_full_rate = options.through->called || std::holds_alternative<at_full_rate>(options.pace);
	conditions.scheduled_seconds = report.scheduled_seconds;
	conditions.opening_seconds = report.load_seconds;
	if (std::holds_alternative<at_rate>(options.pace))
		conditions.late_p99_ms = static_cast<double>(report.sent_late.percentile(0.99)) / 1e6;
	return replay::why_excluded(conditions);
}

// The oracle: the same stream, each event straight into the engine.
expected<decision_counts> compare_decisions(event_stream &stream, const backend_options &options,
					    backend_report &result)
{
	if (!result.decisions) { // of a backend that cannot be seen to decide
		auto none = decision_log::create();
		if (!none)
			return tl::unexpected(none.error());
		result.decisions.emplace(std::move(*none));
	}
	decision_log &made = *result.decisions;
	if (auto rewound = made.rewind(); !rewound)
		return tl::unexpected(rewound.error());
	if (auto rewound = stream.rewind(); !rewound)
		return tl::unexpected(rewound.error());
	manager oracle{*options.policy, options.settings, most_open};
	decision_comparison comparison{made};
	for (;;) {
		const auto item = stream.next();
		if (!item)
			return tl::unexpected(item.error());
		if (!*item)
			break;
		const pm_event &event = (*item)->event;
		oracle.handle(event, [&](const pm_result &decided) { comparison.expect(decided); });
		if (auto passed = comparison.pass(event); !passed)
			return tl::unexpected(passed.error());
	}
	if (oracle.counted().table_full)
		return fail(fmt::format(
			"the trace has more than {} connections open at once, which is more than a comparison holds: "
			"replay a shorter part of it",
			most_open));
	auto counts = comparison.finish();
	if (counts) {
		counts->made += result.uncompared_decisions;
		counts->wrong += result.uncompared_decisions;
	}
	return counts;
}

expected<run_report> run_here(const run_options &options)
{
	auto stream = event_stream::open(options.stream);
	if (!stream)
		return tl::unexpected(stream.error());
	run_report report;
	report.backend = options.through->name;
	report.policy = options.backend.policy->name;
	report.assignments = options.assignments;
	report.trace = options.stream.trace;
	report.pace = options.pace;

	stay_on_cpu(sending_cpu);
	const std::unique_ptr<backend> through = options.through->make(options.backend);
	if (auto started = through->start(); !started)
		return tl::unexpected(started.error());
	const clock_check clock;
	pacer paced{*through, report, options.pace};
	if (auto played = paced.play(*stream); !played)
		return tl::unexpected(played.error());
	if (auto settled = through->settle(); !settled)
		return tl::unexpected(settled.error());
	auto result = through->finish();
	if (!result)
		return tl::unexpected(result.error());
	report.result = std::move(*result);
	report.excluded = why_excluded(options, report, clock);
	if (report.emitted != report.result.delivered + report.lost())
		return fail(fmt::format(
			"the sums of the run do not close: {} events emitted, {} delivered, {} lost through {}",
			report.emitted, report.result.delivered, report.lost(), report.backend));
	auto decisions = compare_decisions(*stream, options.backend, report.result);
	if (!decisions)
		return tl::unexpected(decisions.error());
	report.decisions = *decisions;
	return report;
}

} // namespace

std::uint64_t run_report::lost() const
{
	return std::accumulate(result.lost.begin(), result.lost.end(), std::uint64_t{0},
			       [](std::uint64_t sum, const auto &stage) { return sum + stage.second; });
}

double run_report::offered_per_s() const
{
	return load_seconds > 0 ? static_cast<double>(emitted - tail_emitted) / load_seconds : 0;
}

double run_report::cpu_ns_per_event() const
{
	return load_delivered() ? static_cast<double>(result.cpu_ns) / static_cast<double>(load_delivered()) : 0;
}

nlohmann::json run_report::to_json() const
{
	const histogram &latency = result.latency;
	nlohmann::json raw = nlohmann::json::array();
	latency.each([&](std::uint64_t upper_end, std::uint64_t count) { raw.push_back({upper_end, count}); });
	const auto rate = std::get_if<at_rate>(&pace);
	const auto own = std::get_if<at_own_times>(&pace);
	nlohmann::json json = {
		{"backend", backend},
		{"policy", policy},
		{"settings", assignments},
		{"place", this_place()},
		{"excluded", excluded ? nlohmann::json(*excluded) : nlohmann::json(nullptr)},
		{"trace", trace},
		{"pace", rate  ? nlohmann::json{{"rate", rate->events_per_s}}
			 : own ? nlohmann::json{{"speed", own->speed}}
			       : nlohmann::json{{"rate", "max"}}},
		{"offered_per_s", offered_per_s()},
		{"emitted", emitted},
		{"tail_emitted", tail_emitted},
		{"delivered", result.delivered},
		{"lost", result.lost},
		{"decisions",
		 {{"expected", decisions.expected},
		  {"made", decisions.made},
		  {"missing", decisions.missing},
		  {"wrong", decisions.wrong}}},
		{"latency_ns",
		 {{"n", latency.n()},
		  {"p50", latency.percentile(0.5)},
		  {"p90", latency.percentile(0.9)},
		  {"p99", latency.percentile(0.99)},
		  {"p999", latency.percentile(0.999)},
		  {"max", latency.max()},
		  {"histogram", raw}}},
		{"cpu_ns_per_event", load_delivered() ? nlohmann::json(cpu_ns_per_event()) : nlohmann::json(nullptr)},
		{"tail_delivered", tail_emitted ? nlohmann::json(static_cast<double>(result.tail_delivered) /
								 static_cast<double>(tail_emitted))
						: nlohmann::json(nullptr)},
		{"sent_late_ns",
		 {{"p50", sent_late.percentile(0.5)}, {"p99", sent_late.percentile(0.99)}, {"max", sent_late.max()}}},
	};
	if (result.counted) {
		const tally &t = *result.counted;
		json["tables"] = {{"unknown_connection", t.unknown},  {"ignored", t.ignored},
				  {"full_locals", t.full_locals},     {"full_remotes", t.full_remotes},
				  {"full_subflows", t.full_subflows}, {"exhausted_pairs", t.exhausted}};
	}
	return json;
}

expected<run_report> run(const run_options &options)
{
	auto where = netns::create();
	if (!where)
		return tl::unexpected(where.error());
	return in_namespace(*where, [&] { return run_here(options); });
}

} // namespace pm::replay
