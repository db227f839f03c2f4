// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Path managers that are processes: pm-netlinkd, whose events come over netlink or by a ring buffer, and mptcpd, with its own
// plugin or ours.
#include "replay/stress_contender.hpp"

#include <cstdio>

#include <fmt/format.h>
#include <unistd.h>

#include "pm-bpf/event_ring.hpp"
#include "pm-netlink/clock.hpp"
#include "pm-netlink/family.hpp"
#include "pm-netlink/status_socket.hpp"
#include "replay/daemon.hpp"
#include "replay/mptcpd_setup.hpp"

namespace pm::replay {

namespace {

using nlohmann::json;

constexpr std::uint64_t patience_ns = 10'000'000'000;

std::uint64_t number(const json &status, const char *pointer)
{
	return status.value(json::json_pointer(pointer), std::uint64_t{0});
}

// Of the status of pm-netlinkd, or of our plugin after it has taken over.
contender_account account_of(const json &status)
{
	contender_account account;
	events_told &events = account.events.emplace();
	events.delivered = number(status, "/events/delivered");
	events.lost = number(status, "/events/lost");
	events.refused = number(status, "/events/foreign_sender");
	for (const auto &count : status.at("events").at("malformed"))
		events.refused += count.get<std::uint64_t>();
	events.table_full = number(status, "/handled/table_full");
	events.idle = number(status, "/handled/unknown_connection") + number(status, "/handled/ignored");
	commands_told &commands = account.commands.emplace();
	commands.sent = number(status, "/commands/sent");
	commands.accepted = number(status, "/commands/accepted");
	for (const auto &kind : status.at("commands").at("refused"))
		commands.refused += kind.at("count").get<std::uint64_t>();
	return account;
}

class pm_netlinkd final : public contender {
public:
	pm_netlinkd(const contender_options &options, bool by_ring) : options_(options), by_ring_(by_ring) {}

	expected<void> start() override
	{
		std::vector<std::string> arguments{std::string{options_.policy->name}};
		for (const std::string &assignment : options_.assignments)
			arguments.insert(arguments.end(), {"--set", assignment});
		arguments.insert(arguments.end(), {"--set", fmt::format("buffer={}", options_.buffer_bytes)});
		if (by_ring_)
			arguments.insert(arguments.end(), {"--events", "ringbuf"});
		auto started = running_daemon::start(arguments);
		if (!started)
			return tl::unexpected(started.error());
		daemon_.emplace(std::move(*started));
		for (const std::uint64_t begun = now_ns(); now_ns() - begun < patience_ns; usleep(1000)) {
			const auto status = daemon_->status();
			if (!status)
				return tl::unexpected(status.error());
			if (number(*status, "/resyncs/done") > 0) // it has read back what there is
				return {};
		}
		return fail("pm-netlinkd did not read the state back within 10 seconds");
	}

	expected<contender_account> account() override
	{
		const auto status = daemon_->status();
		if (!status)
			return tl::unexpected(status.error());
		auto account = account_of(*status);
		if (by_ring_)
			account.events->by = events_told::way::ring;
		return account;
	}

	const child *process() const override { return daemon_ ? &daemon_->process() : nullptr; }

private:
	contender_options options_;
	bool by_ring_;
	std::optional<running_daemon> daemon_;
};

class mptcpd final : public contender {
public:
	mptcpd(const contender_options &options, bool ours) : options_(options), ours_(ours) {}

	expected<void> start() override
	{
		if (ours_) {
			auto settings = plugin_settings::write({.policy = options_.policy,
								.settings = options_.settings,
								.buffer_bytes = options_.buffer_bytes});
			if (!settings)
				return tl::unexpected(settings.error());
			settings_.emplace(std::move(*settings));
		}
		auto started = start_mptcpd(options_.policy, settings_ ? &*settings_ : nullptr);
		if (!started)
			return tl::unexpected(started.error());
		process_.emplace(std::move(*started));
		const auto family = netlink::ask_family();
		if (!family)
			return tl::unexpected(family.error());
		for (const std::uint64_t begun = now_ns(); now_ns() - begun < patience_ns; usleep(1000)) {
			if (!process_->alive())
				return fail("mptcpd ended at once; its own log may say why (run it in the foreground)");
			const auto listening = process_->socket_in_group(family->events_group);
			if (!listening)
				return tl::unexpected(listening.error());
			if (!*listening)
				continue;
			usleep(100'000); // it still asks for addresses and limits, and loads its plugin, after that
			return {};
		}
		return fail("mptcpd did not subscribe to the path manager's events within 10 seconds");
	}

	// Our plugin can be asked once it has taken over.
	expected<contender_account> account() override
	{
		const auto status = settings_ ? netlink::ask_status(settings_->folder()) : fail("it has no status");
		return status ? account_of(*status) : contender_account{};
	}

	const child *process() const override { return process_ ? &*process_ : nullptr; }

private:
	contender_options options_;
	bool ours_;
	std::optional<plugin_settings> settings_;
	std::optional<child> process_;
};

} // namespace

expected<void> check_ringbuf(const contender_options &)
{
	const std::string command = fmt::format("'{}' --help 2>/dev/null", daemon_program());
	std::FILE *help = popen(command.c_str(), "re");
	if (!help)
		return fail_errno("cannot ask pm-netlinkd for its options");
	std::string text;
	char part[4096];
	for (std::size_t size = 0; (size = std::fread(part, 1, sizeof part, help)) > 0;)
		text.append(part, size);
	pclose(help);
	if (text.find("--events") == std::string::npos)
		return fail("this pm-netlinkd has no option --events ringbuf");
	const auto ring = bpf::event_ring::open(4096);
	return ring ? expected<void>{} : tl::unexpected(ring.error());
}

std::unique_ptr<contender> make_netlink_contender(const contender_options &options)
{
	return std::make_unique<pm_netlinkd>(options, false);
}
std::unique_ptr<contender> make_ringbuf_contender(const contender_options &options)
{
	return std::make_unique<pm_netlinkd>(options, true);
}
std::unique_ptr<contender> make_mptcpd_contender(const contender_options &options)
{
	return std::make_unique<mptcpd>(options, true);
}
std::unique_ptr<contender> make_mptcpd_stock_contender(const contender_options &options)
{
	return std::make_unique<mptcpd>(options, false);
}

} // namespace pm::replay
