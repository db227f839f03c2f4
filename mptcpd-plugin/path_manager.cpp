// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "mptcpd-plugin/path_manager.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <unistd.h>

#include "mptcpd-plugin/mptcpd_api.hpp"
#include "pm-netlink/clock.hpp"
#include "pm-netlink/family.hpp"
#include "pm-netlink/snapshot.hpp"
#include "pm-netlink/tenure.hpp"

namespace pm::plugin {

namespace {

constexpr std::uint64_t look_around_ms = 250;
constexpr std::uint64_t retry_ns = 5'000'000'000;
constexpr std::uint64_t snapshot_ns = 2'000'000'000;

// The settings of a policy, from a file that need not be there.
expected<netlink::manager_settings> read_settings(const policy_info &policy)
{
	const char *folder = secure_getenv("PATHLAB_CONFIG_DIR"); // for tests
	const std::string path = fmt::format("{}/{}.conf", folder ? folder : "/etc/pathlab", policy.name);
	if (access(path.c_str(), F_OK) != 0 && errno == ENOENT)
		return netlink::manager_settings{};
	return netlink::read_settings_file(path, policy);
}

// The whole at once: mptcpd waits meanwhile, so there is a bound.
expected<netlink::snapshot> take_snapshot()
{
	auto reader = netlink::snapshot_reader::open();
	if (!reader)
		return tl::unexpected(reader.error());
	if (auto begun = reader->begin(); !begun)
		return tl::unexpected(begun.error());
	for (const std::uint64_t until = now_ns() + snapshot_ns; now_ns() < until;) {
		const auto complete = reader->proceed();
		if (!complete)
			return tl::unexpected(complete.error());
		if (*complete)
			return reader->take();
		pollfd ready{reader->fd(), POLLIN, 0};
		poll(&ready, 1, 100);
	}
	return fail("the kernel did not list all MPTCP connections within 2 seconds");
}

} // namespace

path_manager::plugged::plugged(const policy_info &policy, const pm_settings &settings, std::size_t most_connections,
			       daemon_socket mptcpds, netlink::commander ours, netlink::address_source addresses)
	: connections(policy, settings, most_connections), events(mptcpds), commands(std::move(ours)),
	  locals(std::move(addresses))
{
}

expected<std::unique_ptr<path_manager>> path_manager::create(std::string_view name, mptcpd_pm *pm)
{
	const auto policy = find_policy(name);
	if (!policy)
		return tl::unexpected(policy.error());
	auto settings = read_settings(**policy);
	if (!settings)
		return tl::unexpected(settings.error());
	const auto values = make_settings(**policy, settings->policy);
	if (!values)
		return tl::unexpected(values.error());
	return std::unique_ptr<path_manager>{new path_manager{**policy, std::move(*settings), *values, pm}};
}

void path_manager::start()
{
	if (!chosen_by_mptcpd(pm_)) {
		log(severity::info, policy_.name, "not mptcpd's path manager (--path-manager), so it does nothing");
		return;
	}
	timer_.emplace(look_around_ms, [this] { look_around(); });
	if (auto done = plug_in(); !done)
		return take_over(done.error().text);
	const auto existing = take_snapshot();
	if (!existing)
		return take_over(existing.error().text);
	const std::size_t count = existing->connections.size();
	if (count == 0)
		log(severity::info, policy_.name, "manages the connections that mptcpd tells of");
	else
		take_over(fmt::format("{} MPTCP connection{} opened before mptcpd, which ignores {}", count,
				      count == 1 ? " was" : "s were", count == 1 ? "it" : "them"));
}

expected<void> path_manager::plug_in()
{
	const auto family = netlink::ask_family();
	if (!family)
		return tl::unexpected(family.error());
	const auto events = daemon_socket::find(family->events_group);
	if (!events)
		return tl::unexpected(events.error());
	events->enlarge(settings_.buffer_bytes);
	auto commands = netlink::commander::open();
	if (!commands)
		return tl::unexpected(commands.error());
	auto locals = netlink::address_source::open(settings_.locals);
	if (!locals)
		return tl::unexpected(locals.error());
	plugged_ = std::make_unique<plugged>(policy_, values_, settings_.most_connections, *events,
					     std::move(*commands), std::move(*locals));
	plugged_->locals_watch.emplace(plugged_->locals.fd(), [this] { list_locals(); });
	list_locals();
	return {};
}

// ---- as a plugin should ----

void path_manager::handle(const pm_event &event)
{
	if (!plugged_)
		return;
	decide(event);
	settle();
}

void path_manager::decide(const pm_event &event)
{
	plugged_->pacer.handle(event, now_ns(), [this](const pm_command &command) { carry_out(command); });
}

void path_manager::carry_out(const pm_command &command)
{
	if (command.type == PM_ANNOUNCE || command.type == PM_WITHDRAW) {
		plugged_->commands.queue(command);
		return;
	}
	plugged_->waiting.asked(command.token, now_ns());
	if (!give_to_mptcpd(pm_, command))
		plugged_->refused.push_back(netlink::failure_of(command));
}

void path_manager::settle()
{
	// Ends, because the engine gives up what fails too often. A kernel without memory gets what is queued later.
	for (bool again = true; again;) {
		again = false;
		const auto sent = plugged_->commands.exchange([this](const netlink::command_answer &answer) noexcept {
			if (answer.error != 0 && answer.error != ENOBUFS)
				guarded([&] {
					plugged_->refused.push_back(netlink::failure_of(answer.command, answer.error));
				});
		});
		if (!sent)
			say_once(said_no_announcing_, sent.error().text);
		for (const pm_event &event : std::exchange(plugged_->refused, {})) {
			decide(event);
			again = true;
		}
		again = again || (sent && *sent != 0);
	}
}

// All of them, as of a resync: what the namespace has now, whatever it had before.
void path_manager::list_locals()
{
	if (!plugged_)
		return;
	if (const auto changed = plugged_->locals.changed(); !changed)
		say_once(said_no_locals_, changed.error().text);
	const auto addresses = plugged_->locals.list();
	if (!addresses)
		return say_once(said_no_locals_, addresses.error().text);
	for (const pm_event &event : netlink::changes(plugged_->connections.locals(), *addresses))
		decide(event);
	if (plugged_->connections.name_interfaces(settings_.policy))
		for (const pm_event &event : plugged_->connections.look_at_all())
			decide(event);
	settle();
}

void path_manager::look_for_refusals()
{
	const std::uint64_t now = now_ns();
	if (now < look_again_at_) // a list of everything takes its time, in which mptcpd does nothing else
		return;
	const auto tokens = plugged_->waiting.overdue(plugged_->connections, now);
	if (tokens.empty())
		return;
	const auto listed = take_snapshot();
	look_again_at_ = now_ns() + std::max(unanswered::patience_ns / 5, 20 * (now_ns() - now));
	if (!listed)
		return say_once(said_no_snapshot_, listed.error().text);
	for (const u32 token : tokens)
		if (const pm_connection *connection = plugged_->connections.find(token))
			for (const pm_event &refusal : refusals(*connection, *listed))
				decide(refusal);
}

void path_manager::look_around()
{
	if (!reason_.empty() && (!service_ || service_broken_) && now_ns() >= retry_at_)
		return serve();
	if (!plugged_)
		return;
	if (const std::uint32_t drops = plugged_->events.drops(); drops != 0)
		return take_over(
			fmt::format("mptcpd's socket overran ({} events lost so far), after which it reads no more",
				    drops));
	plugged_->pacer.retry_due(now_ns(), [this](const pm_command &command) { carry_out(command); });
	look_for_refusals();
	settle();
}

// ---- by ourselves ----

void path_manager::take_over(const std::string &why)
{
	if (!reason_.empty())
		return;
	reason_ = why;
	log(severity::warning, policy_.name, why + ": from now on, pathlab's own reader serves all connections");
	serve();
}

// The new reader joins the group before mptcpd leaves it: the kernel refuses joins while nobody listens.
void path_manager::serve()
{
	service_watch_.reset();
	service_.reset();
	service_broken_ = false;
	retry_at_ = now_ns() + retry_ns;
	auto started = netlink::service::start(policy_, settings_, [this](const std::string &line) {
		log(severity::warning, policy_.name, line);
	});
	if (!started)
		return say_once(said_no_service_, started.error().text);
	service_ = std::move(*started);
	service_watch_.emplace(service_->fd(), [this] {
		if (service_broken_)
			return;
		if (const auto done = service_->dispatch(); !done) {
			service_broken_ = true; // anew at the next look around: its watch may not destroy itself
			say_once(said_no_service_, done.error().text);
		}
	});
	if (plugged_)
		plugged_->events.leave_group();
	plugged_.reset();
	open_status();
}

// For `pathlab status`. Where mptcpd may not make a file in that folder, there is none.
void path_manager::open_status()
{
	if (status_)
		return;
	const char *folder = secure_getenv("PATHLAB_RUN_DIR"); // for tests
	const std::string where = folder ? folder : netlink::default_run_folder;
	if (netlink::ask_status(where))
		return; // a pm-netlinkd's
	auto opened = netlink::status_socket::listen(where);
	if (!opened)
		return;
	status_.emplace(std::move(*opened));
	status_watch_.emplace(status_->fd(), [this] {
		if (service_)
			status_->answer([this] { return service_->status(); });
	});
}

void path_manager::say_once(bool &said, const std::string &text) const
{
	if (!std::exchange(said, true))
		log(severity::error, policy_.name, text);
}

} // namespace pm::plugin
