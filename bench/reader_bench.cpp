// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What the reader costs and loses at full sending rate: one thread sends to the real group as fast as it can, another,
// on a processor of its own, reads. Against it the least that a reader can do, a bare recvmmsg loop over the same
// messages. Repetitions are interleaved.
#include <array>

#include <fmt/format.h>

#include "bench/channel.hpp"
#include "bench/topics.hpp"
#include "pathlab/terminal.hpp"
#include "replay/clock.hpp"

namespace pm::bench {

namespace {

constexpr std::uint64_t load_events = 1'000'000;

enum who : std::size_t { bare, reader, reader_and_engine, everybody };
constexpr const char *names[everybody] = {"bare recvmmsg", "reader", "reader and engine"};

struct samples {
	std::vector<double> cpu_per_event, rate;
	double lost = 0;
	std::uint64_t sent = 0;
};

expected<std::unique_ptr<consumer>> make(std::size_t which, const prepared_events &load)
{
	switch (which) {
	case bare: return bare_consumer();
	case reader: return reading_consumer();
	default: return deciding_consumer(load.addresses);
	}
}

expected<void> run_once(std::size_t which, prepared_events &load, samples &into)
{
	auto sender = replay::group_sender::open();
	if (!sender)
		return tl::unexpected(sender.error());
	auto who = make(which, load);
	if (!who)
		return tl::unexpected(who.error());
	listener listening{std::move(*who)};
	const std::uint64_t start = now_ns();
	const auto sent = load.send(*sender, load_events);
	const std::uint64_t end = now_ns();
	if (!sent)
		return tl::unexpected(sent.error());
	const auto all = listening.stop(*sent);
	if (!all)
		return tl::unexpected(all.error());
	if (all->delivered == 0)
		return fail(fmt::format("of {} events that were sent, none reached the {}", *sent, names[which]));
	into.cpu_per_event.push_back(static_cast<double>(all->cpu_ns) / static_cast<double>(all->delivered));
	into.rate.push_back(static_cast<double>(*sent) * 1e9 / static_cast<double>(end - start));
	into.lost += static_cast<double>(all->lost);
	into.sent += *sent;
	return {};
}

expected<void> measure_here(job &work)
{
	replay::stay_on_cpu(replay::sending_cpu);
	auto load = prepared_events::generate();
	if (!load)
		return tl::unexpected(load.error());
	const unsigned repetitions = work.quick ? 3 : 9;
	std::array<samples, everybody> all;
	for (unsigned i = 0; i < repetitions; ++i) {
		for (std::size_t which = 0; which < everybody; ++which) {
			work.tell(static_cast<double>(i * everybody + which) /
					  static_cast<double>(repetitions * everybody),
				  fmt::format("{} at full sending rate", names[which]));
			if (auto ran = run_once(which, *load, all[which]); !ran)
				return ran;
		}
	}
	const auto total = [](double value) { return replay::summary{1, value, value, value}; };
	const auto cpu = [&](std::size_t which) { return replay::summarize(all[which].cpu_per_event); };
	for (const std::size_t which : {reader, reader_and_engine}) {
		const bool aimed_at = which == reader;
		work.figures.push_back({fmt::format("{}: lost of {} x {} events", names[which], repetitions,
						    pathlab::format_count(load_events)),
					unit::count, total(all[which].lost), names[bare], total(all[bare].lost),
					aimed_at ? std::optional{target{0}} : std::nullopt});
		work.figures.push_back({fmt::format("{}: CPU for an event", names[which]), unit::nanoseconds,
					cpu(which), names[bare], cpu(bare),
					aimed_at ? std::optional{target{1.5, target::at_most, true}} : std::nullopt});
	}
	work.figures.push_back({"rate at which the events were sent to the reader",
				unit::per_second,
				replay::summarize(all[reader].rate),
				names[bare],
				replay::summarize(all[bare].rate),
				{}});
	return {};
}

} // namespace

expected<void> measure_reader(job &work)
{
	const auto where = netns::create();
	if (!where)
		return tl::unexpected(where.error());
	return in_namespace(*where, [&] { return measure_here(work); });
}

} // namespace pm::bench
