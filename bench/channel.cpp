// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "bench/channel.hpp"

#include <algorithm>
#include <cstdlib>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "replay/clock.hpp"
#include "replay/generate.hpp"
#include "replay/interrupt.hpp"
#include "replay/trace.hpp"

namespace pm::bench {

namespace {

constexpr double connections_per_s = 20'000; // some 3,000 are open at a time
constexpr std::uint64_t events_of_connection = 7;

// A folder for a file until it loses its name.
class temporary_folder {
public:
	static expected<temporary_folder> create()
	{
		const char *base = std::getenv("TMPDIR");
		std::string path = fmt::format("{}/pathlab-bench.XXXXXX", base && *base ? base : "/tmp");
		if (!mkdtemp(path.data()))
			return fail_errno(
				fmt::format("cannot create the temporary folder {} (TMPDIR says where it goes)", path));
		return temporary_folder{std::move(path)};
	}
	temporary_folder(temporary_folder &&other) noexcept : path_(std::exchange(other.path_, {})) {}
	temporary_folder &operator=(temporary_folder &&) = delete;
	~temporary_folder()
	{
		if (path_.empty())
			return;
		unlink(file().c_str());
		rmdir(path_.c_str());
	}
	std::string file() const { return path_ + "/trace.pcap"; }

private:
	explicit temporary_folder(std::string path) : path_(std::move(path)) {}
	std::string path_;
};

} // namespace

expected<prepared_events> prepared_events::generate()
{
	prepared_events made;
	const replay::generate_options options{.connections = 1024, .rate = connections_per_s};
	auto generated = replay::generate(options, [&](const pm_event &event) -> expected<void> {
		if (event.token == 0) {
			made.addresses.push_back(event);
			return {};
		}
		replay::due_event &next = made.events.emplace_back();
		next.event = event;
		next.length = netlink::encode_event(event, 0, next.message); // the sender puts the family's number in
		return {};
	});
	if (!generated)
		return tl::unexpected(generated.error());
	return made;
}

expected<std::uint64_t> prepared_events::send(replay::group_sender &through, std::uint64_t count)
{
	std::uint64_t sent = 0;
	while (sent < count) {
		for (std::span<replay::due_event> rest{events}; !rest.empty() && sent < count;) {
			const auto batch = rest.first(std::min(rest.size(), replay::group_sender::most_at_once));
			if (auto done = through.send(batch); !done)
				return tl::unexpected(done.error());
			sent += batch.size();
			rest = rest.subspan(batch.size());
		}
		if (replay::interrupted())
			return replay::fail_interrupted();
	}
	return sent;
}

expected<unnamed_trace> unnamed_trace::generate(std::uint64_t events)
{
	const auto family = netlink::ask_family();
	if (!family)
		return tl::unexpected(family.error());
	const auto folder = temporary_folder::create();
	if (!folder)
		return tl::unexpected(folder.error());
	auto writer = replay::trace_writer::create(folder->file(), *family);
	if (!writer)
		return tl::unexpected(writer.error());
	std::uint64_t written = 0;
	const replay::generate_options options{.connections = events / events_of_connection + 1,
					       .rate = connections_per_s};
	auto generated = replay::generate(options, [&](const pm_event &event) -> expected<void> {
		if (replay::interrupted())
			return replay::fail_interrupted();
		written += event.token != 0;
		return writer->write(event);
	});
	if (!generated)
		return tl::unexpected(generated.error());
	if (auto closed = writer->close(); !closed)
		return tl::unexpected(closed.error());
	// Inherited by the processes that we start, hence no O_CLOEXEC.
	descriptor file{open(folder->file().c_str(), O_RDONLY)};
	if (!file)
		return fail_errno(fmt::format("cannot open the temporary trace '{}'", folder->file()));
	return unnamed_trace{std::move(file), written};
}

std::string unnamed_trace::path() const { return fmt::format("/proc/self/fd/{}", file_.get()); }

listener::listener(std::unique_ptr<consumer> who)
	: who_(std::move(who)), stop_(eventfd(0, EFD_CLOEXEC)), thread_([this] { run(); })
{
}

listener::~listener() { join(); }

void listener::join()
{
	if (!thread_.joinable())
		return;
	eventfd_write(stop_.get(), 1);
	thread_.join();
}

void listener::run()
{
	replay::stay_on_cpu(replay::receiving_cpu);
	const std::uint64_t before = replay::thread_cpu_ns();
	pollfd waiting[] = {{who_->fd(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
	for (bool stopping = !stop_; !stopping && went_;) {
		poll(waiting, 2, -1);
		stopping = waiting[1].revents != 0; // nothing is sent any more: one drain gets the rest
		went_ = who_->drain();
	}
	cpu_ns_ = replay::thread_cpu_ns() - before;
}

expected<heard> listener::stop(std::uint64_t sent)
{
	join();
	if (!went_)
		return tl::unexpected(went_.error());
	heard all = who_->count();
	all.cpu_ns = cpu_ns_;
	if (all.delivered + all.lost != sent)
		return fail(fmt::format("the sums do not close: {} events sent, {} delivered, {} lost", sent,
					all.delivered, all.lost));
	return all;
}

} // namespace pm::bench
