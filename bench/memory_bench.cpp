// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Memory: of each connection that is tracked, in userspace and in the BPF map, and of a long replay, whose peak is read
// in a process of its own (VmHWM: getrusage's ru_maxrss would still know what the process was before exec).
#include <cerrno>
#include <csignal>
#include <fstream>

#include <fcntl.h>
#include <malloc.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "bench/channel.hpp"
#include "bench/steady_stream.hpp"
#include "bench/topics.hpp"
#include "pathlab/terminal.hpp"
#include "pm-bpf/loader.hpp"
#include "replay/interrupt.hpp"
#include "replay/runner.hpp"

extern char **environ;

namespace pm::bench {

namespace {

constexpr unsigned tracked = 50'000;

double heap_bytes()
{
	const struct mallinfo2 now = mallinfo2(); // large blocks (the hash table's) are counted apart
	return static_cast<double>(now.uordblks) + static_cast<double>(now.hblkhd);
}

replay::summary once(double value) { return {1, value, value, value}; }

expected<void> measure_connections(job &work)
{
	const auto policy = find_policy("fullmesh");
	if (!policy)
		return tl::unexpected(policy.error());
	const auto settings = make_settings(**policy);
	if (!settings)
		return tl::unexpected(settings.error());
	const steady_stream stream{{4, 4, tracked, true}};
	const double before = heap_bytes();
	double grown = 0;
	{
		manager all{**policy, *settings};
		const auto ignore = [](const pm_result &) {};
		for (const pm_event &event : stream.addresses())
			all.handle(event, ignore);
		for (unsigned c = 0; c < tracked; ++c)
			for (const pm_event &event : stream.opening(c))
				all.handle(event, ignore);
		grown = heap_bytes() - before;
		if (all.connections() != tracked)
			return fail(
				fmt::format("only {} of {} connections are in the table", all.connections(), tracked));
	}
	if (grown <= 0)
		return fail("the C library does not say how much memory is in use (another allocator, or a sanitizer, "
			    "is in its place)");
	const std::string of = fmt::format("{} connections, 4 x 4 addresses", pathlab::format_count(tracked));
	work.figures.push_back({of + ", each in userspace", unit::bytes, once(grown / tracked), "its state alone",
				once(sizeof(pm_connection)), target{1024}});
	const auto loaded = bpf::engine::load(**policy, *settings, {.most_connections = tracked, .stamp = false});
	if (!loaded)
		return tl::unexpected(loaded.error());
	const auto in_map = loaded->map_bytes_per_connection();
	if (!in_map)
		return tl::unexpected(in_map.error());
	work.figures.push_back({of + ", each in the BPF map", unit::bytes, once(*in_map), "its state alone",
				once(sizeof(pm_connection)), target{1024}});
	return {};
}

// Runs this program again. Yields what it prints; its errors go where ours go.
expected<std::string> run_self(const std::vector<std::string> &arguments)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0)
		return fail_errno("cannot create a pipe to a process of our own");
	descriptor from{ends[0]}, to{ends[1]};
	std::string self = "/proc/self/exe"; // of the one that is started, but that is still us
	std::vector<char *> argv{self.data()};
	std::vector<std::string> copies = arguments;
	for (std::string &each : copies)
		argv.push_back(each.data());
	argv.push_back(nullptr);
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, to.get(), STDOUT_FILENO);
	pid_t pid = -1;
	errno = posix_spawn(&pid, self.c_str(), &actions, nullptr, argv.data(), environ);
	posix_spawn_file_actions_destroy(&actions);
	if (errno != 0)
		return fail_errno("cannot start a process of our own");
	to = descriptor{};

	std::string text;
	char part[4096];
	for (ssize_t n = 0; (n = read(from.get(), part, sizeof part)) != 0;) {
		if (n > 0)
			text.append(part, static_cast<std::size_t>(n));
		else if (errno != EINTR)
			break;
		else if (replay::interrupted())
			kill(pid, SIGTERM);
	}
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	if (replay::interrupted())
		return replay::fail_interrupted();
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return fail(WIFSIGNALED(status)
				    ? fmt::format("the replay whose memory is measured was killed by signal {}",
						  WTERMSIG(status))
				    : std::string{"the replay whose memory is measured failed: see above"});
	return text;
}

expected<nlohmann::json> replay_apart(const unnamed_trace &trace, std::uint64_t events)
{
	const auto text = run_self({"--replay-for-memory", trace.path(), "--events", std::to_string(events)});
	if (!text)
		return tl::unexpected(text.error());
	auto said = nlohmann::json::parse(*text, nullptr, false);
	if (said.is_discarded() || !said.contains("peak_kib"))
		return fail("the replay whose memory is measured said nothing that can be read");
	return said;
}

expected<void> measure_replay(job &work)
{
	const std::uint64_t few = 100'000, most = work.quick ? 1'000'000 : 10'000'000;
	work.tell(0.1,
		  fmt::format("generating a trace of {} events", pathlab::format_count(static_cast<double>(most))));
	const auto trace = unnamed_trace::generate(most);
	if (!trace)
		return tl::unexpected(trace.error());
	work.tell(0.5, fmt::format("replaying {} events", pathlab::format_count(static_cast<double>(trace->events()))));
	const auto begun = replay_apart(*trace, few);
	if (!begun)
		return tl::unexpected(begun.error());
	const auto all = replay_apart(*trace, trace->events());
	if (!all)
		return tl::unexpected(all.error());
	const auto peak = [](const nlohmann::json &of) { return once(of.at("peak_kib").get<double>() / 1024); };
	work.figures.push_back(
		{fmt::format("{} events replayed through `netlink` ({} lost), peak",
			     pathlab::format_count(all->at("emitted")), pathlab::format_count(all->at("lost"))),
		 unit::mebibytes, peak(*all),
		 fmt::format("the first {}", pathlab::format_count(static_cast<double>(few))), peak(*begun),
		 target{64}});
	return {};
}

} // namespace

int replay_for_memory(const std::string &trace, std::uint64_t events)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	const auto policy = find_policy("fullmesh");
	const auto through = replay::find_backend("netlink");
	const auto settings = policy ? make_settings(**policy) : expected<pm_settings>{};
	if (!policy || !through || !settings) {
		fmt::print(stderr, "bench: there is no policy fullmesh, or no backend netlink\n");
		return 1;
	}
	replay::run_options options;
	options.stream = {.trace = trace, .most_events = events};
	options.pace = replay::at_full_rate{};
	options.through = *through;
	options.backend.policy = *policy;
	options.backend.settings = *settings;
	options.backend.buffer_bytes = socket_buffer;
	const auto ran = replay::run(options);
	if (!ran) {
		fmt::print(stderr, "bench: {}\n", ran.error().text);
		return 1;
	}
	std::ifstream status{"/proc/self/status"};
	std::uint64_t peak_kib = 0;
	for (std::string name; status >> name;)
		if (name == "VmHWM:")
			status >> peak_kib;
	const nlohmann::json said{{"emitted", ran->emitted}, {"lost", ran->lost()}, {"peak_kib", peak_kib}};
	fmt::print("{}\n", said.dump());
	return 0;
}

expected<void> measure_memory(job &work)
{
	work.tell(0, fmt::format("{} connections", pathlab::format_count(tracked)));
	if (auto done = measure_connections(work); !done)
		return done;
	return measure_replay(work);
}

} // namespace pm::bench
