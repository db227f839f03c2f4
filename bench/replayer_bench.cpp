// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// How fast a trace can be sent from one processor, reading the file included, and how late events are sent at a rate
// that is given. Against the first, sending events that lie prepared in memory; against the second, a loop that waits
// for the same times and sends nothing, which shows what the machine itself is late. Repetitions are interleaved.
#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>
#include <sys/prctl.h>

#include "bench/channel.hpp"
#include "bench/topics.hpp"
#include "replay/clock.hpp"
#include "replay/interrupt.hpp"
#include "replay/runner.hpp"

namespace pm::bench {

namespace {

constexpr double even_rate = 50'000;

// Sends the whole trace as the runner does, but without its clock. Yields how many events.
expected<std::uint64_t> send_trace(replay::group_sender &through, replay::event_stream &trace)
{
	std::vector<replay::due_event> batch;
	batch.reserve(replay::group_sender::most_at_once);
	std::uint64_t sent = 0;
	for (;;) {
		const auto item = trace.next();
		if (!item)
			return tl::unexpected(item.error());
		if (*item && (*item)->local_change())
			continue;
		if (*item) {
			replay::due_event &next = batch.emplace_back();
			next.event = (*item)->event;
			std::copy((*item)->message.begin(), (*item)->message.end(), next.message.begin());
			next.length = (*item)->message.size();
		}
		if (batch.size() == replay::group_sender::most_at_once || (!*item && !batch.empty())) {
			if (auto done = through.send(batch); !done)
				return tl::unexpected(done.error());
			sent += batch.size();
			batch.clear();
			if (replay::interrupted())
				return replay::fail_interrupted();
		}
		if (!*item)
			return sent;
	}
}

// Events per second that `send` achieves, with one reader subscribed or nobody.
template <class Send>
expected<double> rate_of(bool with_reader, Send &&send)
{
	auto sender = replay::group_sender::open();
	if (!sender)
		return tl::unexpected(sender.error());
	std::optional<listener> listening;
	if (with_reader) {
		auto who = reading_consumer();
		if (!who)
			return tl::unexpected(who.error());
		listening.emplace(std::move(*who));
	}
	const std::uint64_t start = now_ns();
	const expected<std::uint64_t> sent = send(*sender);
	const std::uint64_t end = now_ns();
	if (!sent)
		return tl::unexpected(sent.error());
	if (listening)
		if (const auto all = listening->stop(*sent); !all)
			return tl::unexpected(all.error());
	return static_cast<double>(*sent) * 1e9 / static_cast<double>(end - start);
}

struct rates {
	std::vector<double> prepared, traced;
};

expected<void> measure_rates(bool with_reader, prepared_events &load, const unnamed_trace &trace, rates &into)
{
	const auto prepared = rate_of(with_reader,
				      [&](replay::group_sender &s) { return load.send(s, trace.events()); });
	if (!prepared)
		return tl::unexpected(prepared.error());
	into.prepared.push_back(*prepared);
	auto stream = replay::event_stream::open({.trace = trace.path()});
	if (!stream)
		return tl::unexpected(stream.error());
	const auto traced = rate_of(with_reader, [&](replay::group_sender &s) { return send_trace(s, *stream); });
	if (!traced)
		return tl::unexpected(traced.error());
	into.traced.push_back(*traced);
	return {};
}

expected<replay::run_report> run_whole(const unnamed_trace &trace, std::uint64_t most, const replay::pacing &pace)
{
	const auto policy = find_policy("fullmesh");
	const auto through = replay::find_backend("netlink");
	if (!policy || !through)
		return tl::unexpected(policy ? through.error() : policy.error());
	const auto settings = make_settings(**policy);
	if (!settings)
		return tl::unexpected(settings.error());
	replay::run_options options;
	options.stream = {.trace = trace.path(), .most_events = most};
	options.pace = pace;
	options.through = *through;
	options.backend.policy = *policy;
	options.backend.settings = *settings;
	options.backend.buffer_bytes = socket_buffer;
	return replay::run(options);
}

// The lateness of doing nothing: waits for the same times as the replayer, in the same way.
replay::histogram wait_only(std::uint64_t events)
{
	prctl(PR_SET_TIMERSLACK, 1UL);
	replay::histogram late;
	const std::uint64_t start = now_ns();
	for (std::uint64_t n = 0; n < events && !replay::interrupted(); ++n) {
		const std::uint64_t due = start + static_cast<std::uint64_t>(static_cast<double>(n) * 1e9 / even_rate);
		std::uint64_t now = now_ns();
		while (now < due)
			now = now_ns();
		late.record(now - due);
	}
	return late;
}

struct lateness {
	std::vector<double> sent_p50, sent_p99, waited_p99;

	expected<void> measure(const unnamed_trace &trace, std::uint64_t events)
	{
		const replay::histogram waited = wait_only(events);
		const auto ran = run_whole(trace, events, replay::at_rate{even_rate});
		if (!ran)
			return tl::unexpected(ran.error());
		waited_p99.push_back(static_cast<double>(waited.percentile(0.99)));
		sent_p50.push_back(static_cast<double>(ran->sent_late.percentile(0.5)));
		sent_p99.push_back(static_cast<double>(ran->sent_late.percentile(0.99)));
		return {};
	}
};

expected<void> measure_here(job &work)
{
	replay::stay_on_cpu(replay::sending_cpu);
	work.tell(0, "generating a trace");
	auto load = prepared_events::generate();
	if (!load)
		return tl::unexpected(load.error());
	const auto trace = unnamed_trace::generate(work.quick ? 300'000 : 1'000'000);
	if (!trace)
		return tl::unexpected(trace.error());
	const std::uint64_t paced_events = work.quick ? 50'000 : 250'000;
	const unsigned repetitions = work.quick ? 3 : 7;
	rates to_nobody, to_reader;
	std::vector<double> whole;
	lateness late;
	for (unsigned i = 0; i < repetitions; ++i) {
		work.tell(static_cast<double>(i) / repetitions, "sending a trace at full rate");
		if (auto done = measure_rates(false, *load, *trace, to_nobody); !done)
			return done;
		if (auto done = measure_rates(true, *load, *trace, to_reader); !done)
			return done;
		const auto ran = run_whole(*trace, 0, replay::at_full_rate{});
		if (!ran)
			return tl::unexpected(ran.error());
		whole.push_back(ran->offered_per_s());
		work.tell((i + 0.5) / repetitions, "sending a trace at 50,000 events/s");
		if (auto done = late.measure(*trace, paced_events); !done)
			return done;
	}
	using replay::summarize;
	const target fast{400'000, target::at_least};
	work.figures = {
		{"trace at full rate, nobody subscribed", unit::per_second, summarize(to_nobody.traced),
		 "prepared events", summarize(to_nobody.prepared), fast},
		{"trace at full rate, one reader subscribed", unit::per_second, summarize(to_reader.traced),
		 "prepared events", summarize(to_reader.prepared), fast},
		{"trace at full rate, a whole run through `netlink`",
		 unit::per_second,
		 summarize(whole),
		 "the sending alone",
		 summarize(to_reader.traced),
		 {}},
		{"|sent - due| at 50,000 events/s, p99", unit::nanoseconds, summarize(late.sent_p99), "waiting only",
		 summarize(late.waited_p99), target{100'000}},
		{"|sent - due| at 50,000 events/s, p50", unit::nanoseconds, summarize(late.sent_p50), "", {}, {}},
	};
	return {};
}

} // namespace

expected<void> measure_replayer(job &work)
{
	const auto where = netns::create();
	if (!where)
		return tl::unexpected(where.error());
	return in_namespace(*where, [&] { return measure_here(work); });
}

} // namespace pm::bench
