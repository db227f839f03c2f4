// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/stream.hpp"

#include "replay/generate.hpp"

namespace pm::replay {

namespace {

// Beyond the numbers that generated traces start from, so that a tail shares no connection with the load.
constexpr std::uint64_t first_tail_token = 3'000'000'000;
constexpr double tail_connections_per_s = 250;

} // namespace

expected<event_stream> event_stream::open(const options &wanted)
{
	auto reader = trace_reader::open(wanted.trace);
	if (!reader)
		return tl::unexpected(reader.error());
	if (auto again = reader->rewind(); !again) // it is gone through twice: for the run, and for the oracle
		return tl::unexpected(again.error());
	event_stream stream{std::move(*reader), wanted};
	if (auto made = stream.generate_tail(); !made)
		return tl::unexpected(made.error());
	return stream;
}

expected<void> event_stream::generate_tail()
{
	if (options_.tail_events == 0)
		return {};
	generate_options calm;
	calm.connections = std::max<std::uint64_t>(1, options_.tail_events / 7);
	calm.rate = tail_connections_per_s;
	calm.first_token = first_tail_token;
	return generate(calm, [&](const pm_event &event) -> expected<void> {
		if (event.token != 0) // the addresses are those of the trace
			tail_.push_back(event);
		return {};
	});
}

expected<const stream_item *> event_stream::next()
{
	if (!load_over_) {
		const auto record = reader_.next();
		if (!record)
			return tl::unexpected(record.error());
		if (*record && (options_.most_events == 0 || events_ < options_.most_events)) {
			item_.event = (*record)->event;
			item_.message = (*record)->message;
			item_.tail = false;
			seq_ = item_.event.seq;
			events_ += !item_.local_change();
			return &item_;
		}
		load_over_ = true;
	}
	if (in_tail_ == tail_.size())
		return nullptr;
	item_.event = tail_[in_tail_++];
	item_.event.seq = ++seq_;
	item_.message = netlink::bytes{encoded_}.first(netlink::encode_event(item_.event, 0, encoded_));
	item_.tail = true;
	return &item_;
}

expected<void> event_stream::rewind()
{
	events_ = 0;
	seq_ = 0;
	in_tail_ = 0;
	load_over_ = false;
	return reader_.rewind();
}

} // namespace pm::replay
